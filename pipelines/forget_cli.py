"""``voxline forget`` and ``voxline clean``: what is to go, shown before anything does."""

from __future__ import annotations

import getpass
import json
import sys
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from pipelines.settings import HomeOption, default_home, require_settings
from pipelines.shown import escape
from training_jobs.version_records import page_path
from validation.errors import ConfigurationError

if TYPE_CHECKING:
    from assets.workspace import Workspace
    from pipelines.forgetting import Request
    from pipelines.settings import Settings
    from validation.forgotten import Selector
    from validation.lake import Lake

_console = Console(highlight=False, soft_wrap=True)
_SHOWN = 10  # of each kind


def forget(
    speaker: Annotated[str | None, typer.Option(help="All rows of this speaker.")] = None,
    file: Annotated[str | None, typer.Option(help="All rows cut from this file: URI or path.")] = None,
    licence: Annotated[str | None, typer.Option(help="All rows under this licence.")] = None,
    utterance: Annotated[str | None, typer.Option(help="The row, or conversation, of this id.")] = None,
    corpus: Annotated[str | None, typer.Option(help="Only in this corpus.")] = None,
    copies: Annotated[
        bool, typer.Option("--copies", help="Other rows with the very same audio, too.")
    ] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Do it; without this, it is only shown.")] = False,
    by: Annotated[str | None, typer.Option(help="Who asks for it; this user.", show_default=False)] = None,
    why: Annotated[str, typer.Option(help="For the list.")] = "",
    run: Annotated[bool, typer.Option("--run", help="With --apply: prepare the data anew at once.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="All of it, for programs.")] = False,
    home: HomeOption = None,
) -> None:
    """List every row, file and checkpoint that holds a speaker, file, licence or utterance; with --apply, forget it."""
    from assets.turns import turn
    from pipelines.forgetting import forget as forget_request
    from pipelines.forgetting import opened

    if run and not apply:
        raise ConfigurationError("--run needs --apply: without it nothing changes")
    selector = _selector(speaker, file, licence, utterance, corpus)
    place, settings, workspace = _workspace(home)
    with opened(workspace, selector, copies) as request:
        if as_json and not apply:
            _write_json(request)
        else:
            _show(request)
    if not apply:
        if not as_json:
            _console.print("Nothing was changed: --apply does it.")
        return
    with (
        turn(place, f"forget {selector.request}", lambda text: _console.print(escape(text))),
        opened(workspace, selector, copies) as request,
    ):
        done = forget_request(request, by or getpass.getuser(), why)
    _console.print(
        f"forgotten: request {selector.request}; {done.files} files of the lake changed or removed, "
        f"{len(done.outputs)} packs, evaluations and pages, {len(done.tagged)} runs and versions tagged"
    )
    for left in done.left:
        _console.print(f"[bold]still holds texts[/bold], to be removed there: {escape(left)}")
    command = f"voxline run --corpora {settings.corpora} --profile {settings.profile} --home {place}"
    if run:
        _prepare(place, settings)
        _console.print(f"data prepared anew; to train anew: {escape(command)}")
    else:
        _console.print(f"to prepare the data and train anew: {escape(command)}")


def clean(
    unused: Annotated[bool, typer.Option("--unused", help="Stored audio that no row names.")] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Do it; without this, it is only counted.")] = False,
    home: HomeOption = None,
) -> None:
    """Free what nothing uses any more, such as the stored audio of files that their corpus has no more."""
    from contextlib import nullcontext

    from assets.turns import turn

    if not unused:
        raise ConfigurationError("say what to clean: --unused")
    place, _, workspace = _workspace(home)
    waiting = turn(place, "clean", lambda text: _console.print(escape(text))) if apply else nullcontext()
    with waiting:
        files, size = _remove_unused(workspace.lake, apply)
    done = "removed" if apply else "can be removed: --apply does it"
    _console.print(f"{files} files of stored audio, {size / 1e6:,.1f} MB, that no row names; {done}")


def _remove_unused(lake: Lake, apply: bool) -> tuple[int, int]:
    from validation.batches import database
    from validation.forget_purge import stored_corpora, unused_audio

    files = size = 0
    with database(lake) as connection:
        for path, count in unused_audio(connection, lake, stored_corpora(lake)):
            files, size = files + 1, size + count
            if apply:
                lake.remove(path)
    return files, size


def _selector(
    speaker: str | None, file: str | None, licence: str | None, utterance: str | None, corpus: str | None
) -> Selector:
    from validation.forgotten import Selector

    asked = {"speaker": speaker, "file": file, "licence": licence, "utterance": utterance}
    given = [(kind, value) for kind, value in asked.items() if value is not None]
    if len(given) != 1 or not given[0][1]:
        raise ConfigurationError(
            "give just one of --speaker, --file, --licence and --utterance, with a value"
        )
    if speaker == "unknown":
        raise ConfigurationError(
            "--speaker unknown is nobody: it stands for speakers that a corpus does not name"
        )
    if speaker is not None:
        return Selector("speaker", speaker, corpus)
    if file is not None:
        return Selector("file", file if "://" in file else file.removeprefix("./"), corpus)
    if licence is not None:
        return Selector("licence", licence, corpus)
    assert utterance is not None
    return Selector("utterance", utterance, corpus)


def _workspace(home: Path | None) -> tuple[Path, Settings, Workspace]:
    from assets.workspace import Workspace

    place = (home or default_home()).resolve()
    settings = require_settings(place)
    return (
        place,
        settings,
        Workspace(home=str(place), corpora_file=settings.corpora, profile_name=settings.profile),
    )


def _show(request: Request) -> None:
    selector = request.selector
    if request.asked is not None:
        asked = request.asked
        _console.print(
            f"on the list since {asked['at']}, by {escape(asked['by'])}: {escape(asked['why'] or '-')}"
        )
    rows = ", ".join(f"{count} of {corpus}" for corpus, count in request.rows.items()) or "none left"
    _console.print(f"[bold]{selector.kind} {escape(repr(selector.value))}[/bold]: rows: {rows}")
    seen: Counter[str] = Counter()
    for one in request.holdings():
        seen[one.kind] += 1
        if seen[one.kind] <= _SHOWN:
            _console.print(escape(f"  {one.kind:20} {one.place}  {one.what}  {one.note}".rstrip()))
    for kind, count in seen.items():
        if count > _SHOWN:
            _console.print(f"  {kind:20} {count - _SHOWN} more; all of them with --json")
    for line in _trained(request):
        _console.print(escape(f"  {line}"))


def _trained(request: Request) -> list[str]:
    lineage = request.lineage
    lines = []
    for pack in lineage.packs:
        held = (
            f"packed rows {_few(pack.rows)} hold {_few(pack.names)}"
            if pack.rows
            else "holds none of its rows"
        )
        shared = f"; the same audio in {_few(pack.shared)}" if pack.shared else ""
        left_out = f"; says that it left out {_few(pack.left_out)}" if pack.left_out else ""
        lines.append(f"{'pack':20} {pack.path}  {held}{shared}{left_out}")
    for one in (*lineage.tokenizers, *lineage.checkpoints, *lineage.evaluations):
        kind = "checkpoint" if one in lineage.checkpoints else "output"
        versions = f"; version {', '.join(one.versions)}" if one.versions else ""
        run_id = f"; MLflow run {one.run_id}" if one.run_id else ""
        lines.append(f"{kind:20} {one.path}  {one.because}{run_id}{versions}")
    home = Path(request.workspace.home)
    for page in request.pages:
        run_id = f"; MLflow run {page.run_id}" if page.run_id else ""
        lines.append(
            f"{'page':20} {page_path(home, page.version)}  may have samples of it{run_id}; version {page.version}"
        )
    lines += [f"{'cannot tell':20} {path}  made by an earlier version" for path in lineage.untold]
    return lines


def _few(values: tuple[Any, ...]) -> str:
    shown = ", ".join(map(str, islice(values, _SHOWN)))
    return shown if len(values) <= _SHOWN else f"{shown} and {len(values) - _SHOWN} more"


def _write_json(request: Request) -> None:
    """One JSON object; its holdings are written as they are found, since there may be millions."""
    selector, lineage = request.selector, request.lineage
    outputs = {
        "packs": [{**vars_of(pack), "path": str(pack.path)} for pack in lineage.packs],
        "tokenizers": [{**vars_of(one), "path": str(one.path)} for one in lineage.tokenizers],
        "checkpoints": [{**vars_of(one), "path": str(one.path)} for one in lineage.checkpoints],
        "evaluations": [{**vars_of(one), "path": str(one.path)} for one in lineage.evaluations],
        "pages": [vars_of(page) for page in request.pages],
        "cannot_tell": [str(path) for path in lineage.untold],
    }
    head = {
        "request": selector.request,
        "kind": selector.kind,
        "value": selector.value,
        "corpus": selector.corpus,
        "forgotten": request.asked,
        "rows": request.rows,
        **outputs,
    }
    sys.stdout.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "holdings": [')
    for number, one in enumerate(request.holdings()):
        sys.stdout.write(",\n" if number else "\n")
        sys.stdout.write(json.dumps(vars_of(one), ensure_ascii=False))
    sys.stdout.write("]}\n")


def vars_of(one: Any) -> dict[str, Any]:
    """A dataclass's fields, as they are."""
    return {name: getattr(one, name) for name in one.__dataclass_fields__}


def _prepare(place: Path, settings: Settings) -> None:
    from pipelines.jobs import PREPARE_DATA
    from pipelines.run import run_job

    report = run_job(place, settings, _console, PREPARE_DATA)
    if not report.succeeded:
        _console.print(f"[bold red]run {report.run_id} failed[/bold red]\n{escape(report.failure or '')}")
        raise typer.Exit(1)
