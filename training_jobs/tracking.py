"""One MLflow run around a piece of work: tagged, metrics written in batches, ended whatever happens."""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

from training_jobs.jobs import Tracking
from training_jobs.stopping import TerminatedError
from training_jobs.tracked_data import TrackedData
from training_jobs.tracking_store import Experiment, connect, ensure_experiment

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

__all__ = ["RESUME_TAG", "TrackedRun", "tracked_run"]

RESUME_TAG = "voxline.resume_key"
_FLUSH_SECONDS = 2.0
_BATCH = 1000  # MLflow's limit of metrics per log_batch
_PARAM_BATCH = 100  # MLflow's limit of params per log_batch
_END_STATE = Literal["FINISHED", "FAILED", "KILLED"]
_log = logging.getLogger(__name__)


class TrackedRun:
    """An open MLflow run.

    Metrics are kept back for up to two seconds and written together: a write costs milliseconds, which a
    training step of a small model does not have. They carry the time at which they were measured.
    """

    def __init__(self, client: MlflowClient, run_id: str, resumed: bool) -> None:
        self.client = client
        self.run_id = run_id
        self.resumed = resumed
        self._pending: list[Metric] = []
        self._last_flush = time.monotonic()

    def metric(self, name: str, value: float, step: int = 0) -> None:
        """Record one value; ``name`` may have letters, digits and ``_-. :/``."""
        self.metrics({name: value}, step)

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Record several values of the same step."""
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        self._pending += [Metric(name, float(value), now_ms, step) for name, value in values.items()]
        if time.monotonic() - self._last_flush >= _FLUSH_SECONDS:
            self._flush_or_keep()

    def flush(self) -> None:
        """Write what is kept back.

        Raises:
            MlflowException: if the store cannot be written.
        """
        while self._pending:
            self.client.log_batch(self.run_id, metrics=self._pending[:_BATCH])
            del self._pending[:_BATCH]
        self._last_flush = time.monotonic()

    def params(self, values: Mapping[str, Any]) -> None:
        """Record parameters, as text."""
        from mlflow.entities import Param

        params = [Param(name, _param_text(value)) for name, value in values.items()]
        for start in range(0, len(params), _PARAM_BATCH):
            self.client.log_batch(self.run_id, params=params[start : start + _PARAM_BATCH])

    def tag(self, name: str, value: str) -> None:
        """Set a tag."""
        self.client.set_tag(self.run_id, name, value)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Keep a copy of a file."""
        self.client.log_artifact(self.run_id, str(path), folder)

    def text(self, text: str, file: str) -> None:
        """Keep ``text`` as the artifact ``file``, such as ``scores.md``."""
        self.client.log_text(self.run_id, text, file)

    def dataset(self, data: TrackedData) -> None:
        """Say what the run was trained on; told again, it stays one."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            name=data.name,
            digest=data.digest,
            source_type="local",
            source=json.dumps({"uri": str(data.place)}),
            profile=json.dumps(data.counts, ensure_ascii=False),
        )
        tags = [InputTag(name, value) for name, value in data.tags().items()]
        self.client.log_inputs(self.run_id, [DatasetInput(dataset, tags)])

    def table(self, columns: Mapping[str, list[Any]], file: str) -> None:
        """Keep a table as the artifact ``file`` (``.json``), which MLflow's pages show as one."""
        self.client.log_table(self.run_id, dict(columns), file)

    def _flush_or_keep(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.flush()
        except MlflowException as error:
            # A store that is busy for a moment must not end hours of training: the values stay here, and the
            # flush at the end of the run raises if it is still so.
            self._last_flush = time.monotonic()
            _log.warning("run %s: %d metrics kept back: %s", self.run_id, len(self._pending), error)


@contextmanager
def tracked_run(
    tracking: Tracking,
    experiment: Experiment,
    run_name: str,
    params: Mapping[str, Any],
    resume_key: str | None = None,
) -> Iterator[TrackedRun]:
    """An MLflow run for the time of the block, with ``tracking.tags``.

    It ends FINISHED, FAILED where the block raises, or KILLED on SIGINT and on SIGTERM (exit status 143).

    Args:
        tracking: The store, where artifacts go, and the tags.
        experiment: One of DESIGN §7's three.
        run_name: What the run is called on MLflow's pages.
        params: Settings, recorded as text.
        resume_key: Names the work. An unfinished run with the same key and the same ``params`` (one that was
            killed, say) is reopened, so that its curves go on instead of beginning again.
    """
    client = connect(tracking)
    experiment_id = ensure_experiment(client, tracking, experiment)
    run = _reopen(client, experiment_id, params, resume_key) if resume_key is not None else None
    if run is None:
        tags = {**tracking.tags, **({RESUME_TAG: resume_key} if resume_key is not None else {})}
        created = client.create_run(experiment_id, tags=tags, run_name=run_name)
        run = TrackedRun(client, created.info.run_id, resumed=False)
    else:
        for name, value in tracking.tags.items():
            run.tag(name, value)
    end: _END_STATE = "FAILED"
    try:
        with _sigterm_raises():
            run.params(params)
            yield run
            run.flush()
        end = "FINISHED"
    except (KeyboardInterrupt, TerminatedError):
        end = "KILLED"
        raise
    finally:
        _end(run, end)


def _end(run: TrackedRun, end: _END_STATE) -> None:
    from mlflow.exceptions import MlflowException

    try:
        run.flush()
    except MlflowException:
        # Only reached while the block's own error, or the flush's, is on its way out: that one is to be seen.
        _log.exception("run %s: the last metrics could not be written", run.run_id)
    run.client.set_terminated(run.run_id, end)


def _reopen(
    client: MlflowClient, experiment_id: str, params: Mapping[str, Any], resume_key: str
) -> TrackedRun | None:
    assert "'" not in resume_key, f"resume_key {resume_key!r} stands between quotes in MLflow's filter"
    wanted = {name: _param_text(value) for name, value in params.items()}
    found = client.search_runs(
        [experiment_id],
        filter_string=f"tags.`{RESUME_TAG}` = '{resume_key}' and attributes.status != 'FINISHED'",
        order_by=["attributes.start_time DESC"],
    )
    for candidate in found:
        if candidate.data.params == wanted:
            client.update_run(candidate.info.run_id, status="RUNNING")
            return TrackedRun(client, candidate.info.run_id, resumed=True)
    return None


def _param_text(value: Any) -> str:
    return str(value)


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Within the block SIGTERM raises, where the program has no handler of its own for it."""
    is_ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    if not is_ours:
        yield
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        raise TerminatedError

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
