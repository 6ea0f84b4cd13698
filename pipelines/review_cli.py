"""``voxline review``: quarantined rows, given to people to decide about, and their decisions taken back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer
from rich.console import Console
from rich.table import Table

from pipelines.output import require_file_name
from pipelines.settings import HomeOption, default_home, require_settings
from pipelines.shown import escape
from validation.errors import ConfigurationError

if TYPE_CHECKING:
    from validation.lake import Lake
    from validation.review_files import Answer
    from validation.review_queue import QueueItem

app = typer.Typer(no_args_is_help=True, help="Judge quarantined rows: list, export, import decisions.")
_console = Console(highlight=False, width=None if sys.stdout.isatty() else 130)

_FORMATS = ("csv", "label-studio")
_LOCAL_FILES = "/data/local-files/?d="  # Label Studio's address of files below its document root

_Corpora = Annotated[
    list[str] | None, typer.Option("--corpus", help="Only this corpus; may be given several times.")
]


@app.command(name="list")
def list_queue(
    corpus: _Corpora = None,
    limit: Annotated[int, typer.Option(help="Rows to show.", min=0)] = 20,
    home: HomeOption = None,
) -> None:
    """Show the rows that wait for review, and those whose decision the next run will apply."""
    lake, names = _opened(home, corpus)
    table = Table(title="Waiting for review", title_justify="left")
    for column in ("corpus", "id", "reason", "value", "limit", "decided"):
        table.add_column(column, overflow="fold", justify="right" if column in ("value", "limit") else "left")
    counts: dict[str, int] = dict.fromkeys(names, 0)
    decided = 0
    for count, item in enumerate(_queue(lake, names)):
        counts[item.corpus] += 1
        decided += item.decision is not None
        if count < limit:
            numbers = (
                "" if item.row[name] is None else f"{item.row[name]:.6g}" for name in ("value", "limit")
            )
            told = "" if item.decision is None else item.decision.told
            table.add_row(item.corpus, escape(item.utterance_id), item.row["reason"], *numbers, escape(told))
    total = sum(counts.values())
    table.caption = (
        f"{min(limit, total)} of {total} rows; {decided} of them are decided, which the next run applies"
    )
    _console.print(table)
    for name, count in counts.items():
        _console.print(f"{name}: {count}")


@app.command()
def export(
    output: Annotated[Path, typer.Option("--output", help="The file to write.")],
    output_format: Annotated[str, typer.Option("--format", help="csv or label-studio.")] = "csv",
    corpus: _Corpora = None,
    with_decided: Annotated[bool, typer.Option("--with-decided", help="Also rows that are decided.")] = False,
    audio_url: Annotated[
        str | None,
        typer.Option(
            help="What stands before the path of stored audio within the lake, such as https://host/lake/.",
            show_default=False,
        ),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Write the rows that wait for review, as CSV or as tasks for Label Studio."""
    from validation.atomic import replacing
    from validation.review_csv import write_csv
    from validation.review_label_studio import CONFIGURATION, write_tasks

    if output_format not in _FORMATS:
        raise ConfigurationError(f"--format is {output_format!r}; it may be {' or '.join(_FORMATS)}")
    require_file_name(output)
    lake, names = _opened(home, corpus)
    items = (item for item in _queue(lake, names) if with_decided or item.decision is None)
    is_csv = output_format == "csv"
    address = _address(lake, audio_url, is_csv)
    with replacing(output) as partial:
        # A spreadsheet takes a CSV without the mark for one of its own encoding.
        encoding = "utf-8-sig" if is_csv else "utf-8"
        with partial.open("w", encoding=encoding, newline="") as stream:
            count = (write_csv if is_csv else write_tasks)(stream, items, address)
    _console.print(f"{count} rows: {escape(str(output))}", soft_wrap=True)
    if not is_csv:
        configuration = output.with_suffix(".config.xml")
        with replacing(configuration) as partial:
            partial.write_text(CONFIGURATION, encoding="utf-8")
        _console.print(f"labelling configuration: {escape(str(configuration))}", soft_wrap=True)
        if lake.is_local and audio_url is None:
            _console.print(
                "Label Studio plays the audio if it is started with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and "
                f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={escape(lake.root)}",
                soft_wrap=True,
            )


@app.command(name="import")
def import_file(
    file: Annotated[
        Path, typer.Argument(help="CSV (.csv), or an export of Label Studio in its format JSON (.json).")
    ],
    reviewer: Annotated[
        str, typer.Option("--reviewer", help="Who decided, where the file does not say; and who imports.")
    ],
    overrule: Annotated[
        bool,
        typer.Option("--overrule", help="Let decisions take the place of earlier ones that they contradict."),
    ] = False,
    home: HomeOption = None,
) -> None:
    """Take the decisions of a file into the lake, all of them or none; the next run applies them."""
    from assets.corpora.conversation import SPECIAL_TOKEN
    from validation.review_csv import read_csv
    from validation.review_import import import_answers
    from validation.review_label_studio import read_tasks

    readers: dict[str, Callable[[Path], list[Answer]]] = {".csv": read_csv, ".json": read_tasks}
    read = readers.get(file.suffix.lower())
    if read is None:
        raise ConfigurationError(f"{file}: the name must end in .csv or .json")
    if not reviewer.strip():
        raise ConfigurationError("--reviewer is empty; wanted is a name")
    lake, names = _opened(home, None)

    def text_fault(text: str) -> str | None:
        token = SPECIAL_TOKEN.search(text)
        return token and f"the corrected text holds {token[0]!r}, which a tokenizer takes for a control token"

    done = import_answers(lake, names, str(file), read(file), reviewer.strip(), text_fault, overrule)
    known = f"; {done.known} were known already" if done.known else ""
    _console.print(f"{done.added} decisions added{known}; the next run applies them")


def _opened(home: Path | None, corpora: list[str] | None) -> tuple[Lake, list[str]]:
    """The home's lake, and the corpora asked for: all of its corpora file where none are named."""
    from assets.workspace import Workspace

    place = (home or default_home()).resolve()
    settings = require_settings(place)
    workspace = Workspace(home=str(place), corpora_file=settings.corpora, profile_name=settings.profile)
    names = workspace.corpus_names
    if unknown := sorted(set(corpora or ()) - set(names)):
        raise ConfigurationError(f"--corpus is {unknown[0]!r}; {settings.corpora} has {', '.join(names)}")
    return workspace.lake, list(dict.fromkeys(corpora or names))


def _queue(lake: Lake, corpora: list[str]) -> Iterator[QueueItem]:
    from validation.review_queue import review_queue

    return review_queue(lake, corpora)


def _address(lake: Lake, audio_url: str | None, is_csv: bool) -> Callable[[str], str]:
    if audio_url is not None:
        return lambda path: audio_url + quote(path)
    if is_csv or not lake.is_local:
        return lake.uri
    return lambda path: _LOCAL_FILES + quote(path)
