"""Forgets a speaker, a file, a licence or an utterance: in the lake, in what was trained, and in MLflow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import duckdb

from assets.workspace import Workspace
from training_jobs.jobs import Tracking
from training_jobs.lineage import ROW_FILES, Lineage, forget_from, sample_selector, tag_forgotten, trace
from training_jobs.tracking_store import REGISTERED_MODEL, connect
from training_jobs.version_records import ARTIFACT, PageRecord, records_of, remove_page
from validation.batches import database
from validation.forget import NothingToForgetError, counts, entries_of, holdings, select
from validation.forget_purge import purge
from validation.forgotten import Selector, corpora_of, read_request, write_request

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from validation.forget import Holding

TAG = "voxline.forgotten"
_TEXT_FILES = (*ROW_FILES, "slices.json", "slices.md")  # rows and speakers of an evaluation


@dataclass
class Request:
    """A selector, and what answers to it.

    Attributes:
        rows: Selected rows of each corpus.
        asked: When, by whom and why it was put on the list; ``None`` where it is not on it.
        lineage: What was trained on it.
    """

    workspace: Workspace
    selector: Selector
    connection: duckdb.DuckDBPyConnection
    rows: dict[str, int]
    asked: dict[str, str] | None
    lineage: Lineage

    @property
    def pages(self) -> list[PageRecord]:
        """Pages of versions with samples of the evaluations that hold it."""
        evaluations = [one.path for one in self.lineage.evaluations]
        return records_of(Path(self.workspace.home), evaluations)

    def holdings(self) -> Iterator[Holding]:
        """Every row and file of the lake that holds it."""
        return holdings(self.connection, self.workspace.lake)


@dataclass(frozen=True)
class Forgotten:
    """What was done.

    Attributes:
        files: Of the lake, changed or removed.
        outputs: Packs, evaluations and pages that do not hold it any more, and that the next training makes anew.
        tagged: Runs and versions of MLflow.
        left: What could not be changed from here, and where it lies.
    """

    files: int
    outputs: list[Path]
    tagged: list[str]
    left: list[str]


@contextmanager
def opened(workspace: Workspace, selector: Selector, with_copies: bool) -> Iterator[Request]:
    """The request, as long as the block lasts.

    Raises:
        NothingToForgetError: if nothing answers to the selector, and it is not on the list.
    """
    lake = workspace.lake
    found = read_request(lake, selector)
    asked = None
    if found is not None and found.height:
        first = found.row(0, named=True)
        asked = {"at": first["at"].isoformat(timespec="seconds"), "by": first["by"], "why": first["why"]}
    with database(lake) as connection:
        select(connection, lake, selector, with_copies)
        condition = sample_selector(selector.kind, selector.value, selector.corpus)
        training = Path(workspace.home) / "training"
        lineage = trace(connection, training, selector.request, condition)
        rows = counts(connection)
        if not rows and asked is None and not lineage.packs:
            where = "any corpus" if selector.corpus is None else f"corpus {selector.corpus}"
            raise NothingToForgetError(
                f"no row of {where} in {lake.url} has the {selector.kind} {selector.value!r}; nothing was changed"
            )
        yield Request(workspace, selector, connection, rows, asked, lineage)


def forget(request: Request, by: str, why: str) -> Forgotten:
    """Put the request on the list, and remove what holds it; may be killed and done again.

    In this order, so that what is still to be done can be found: the list, MLflow's tags, pages of versions, packs and
    evaluations, the lake's files, and last its rows.
    """
    lake, selector = request.workspace.lake, request.selector
    write_request(lake, selector, list(entries_of(request.connection, selector)), by, why)
    tagged, left = _tag(request)
    condition = sample_selector(selector.kind, selector.value, selector.corpus)
    pages = [remove_page(Path(request.workspace.home), page) for page in request.pages]
    outputs = pages + list(forget_from(request.connection, request.lineage, selector.request, condition))
    corpora = sorted({*request.rows, *corpora_of(read_request(lake, selector))})
    files = purge(request.connection, lake, corpora, selector.request)
    return Forgotten(files, outputs, tagged, left)


def _tag(request: Request) -> tuple[list[str], list[str]]:
    lineage, left = request.lineage, list[str]()
    uri = request.workspace.tracking_uri
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        return [], []
    if not (lineage.checkpoints or lineage.evaluations):
        return [], []
    root = str(Path(request.workspace.home).resolve() / "mlartifacts")
    client = connect(Tracking(uri=uri, artifact_root=root, tags={}))
    tagged: list[str] = []

    def tag(kind: str, name: str) -> None:
        if _set_tag(client, kind, name, request.selector.request):
            tagged.append(f"{kind} {name}")

    tag_forgotten(lineage, request.selector.request, tag)
    for evaluation in lineage.evaluations:
        if evaluation.run_id is not None:
            left += _without_files(client, evaluation.run_id, _TEXT_FILES)
    for page in request.pages:
        if page.run_id is not None:
            left += _without_files(client, page.run_id, (ARTIFACT,))
    return tagged, left


def _set_tag(client: MlflowClient, kind: str, name: str, request: str) -> bool:
    """Add the request to the tag of a run or version; whether there is such a one."""
    from mlflow.exceptions import MlflowException

    try:
        if kind == "run":
            known = client.get_run(name).data.tags.get(TAG, "")
        else:
            known = client.get_model_version(REGISTERED_MODEL, name).tags.get(TAG, "")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    value = ",".join(sorted({*filter(None, known.split(",")), request}))
    if kind == "run":
        client.set_tag(name, TAG, value)
    else:
        client.set_model_version_tag(REGISTERED_MODEL, name, TAG, value)
    return True


def _without_files(client: MlflowClient, run_id: str, names: Sequence[str]) -> Iterator[str]:
    """Remove a run's copies of these files; gives them where they lie elsewhere."""
    from mlflow.exceptions import MlflowException

    try:
        uri = client.get_run(run_id).info.artifact_uri
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return
    parts = urlsplit(uri)
    for name in names:
        if parts.scheme in ("", "file"):
            (Path(unquote(parts.path)) / name).unlink(missing_ok=True)
        else:
            yield f"{uri}/{name}"
