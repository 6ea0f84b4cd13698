"""Speak the sample corpora into a directory: ``python -m assets.sample.speak DIRECTORY``.

The directory appears whole or not at all. A second call with the same settings touches nothing, so that file times,
by which later steps see what is stale, stay as they are.
"""

from __future__ import annotations

import argparse
import csv
import fcntl
import json
import logging
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml
from rich.console import Console
from rich.progress import Progress

from assets.sample.faults import DESCRIPTIONS, LEDGER_REASONS, PlantedFault
from assets.sample.layouts import Corpora, corpora_document
from assets.sample.script import Script, write_script
from assets.sample.synthesis import SampleError, speech
from validation.digests import digest_value

_log = logging.getLogger(__name__)

CORPORA_FILE = "corpora.yaml"
FAULTS_FILE = "FAULTS.csv"
_RECORD_FILE = "sample.json"  # says what the directory was made from, and that it is ours to replace


@dataclass(frozen=True)
class SampleSettings:
    """How much is said, and the seed of who says what."""

    utterances: int = 1000
    seed: int = 0


def speak_corpora(directory: Path, settings: SampleSettings, console: Console | None = None) -> bool:
    """Make ``directory`` hold the sample corpora, their corpora file and the list of planted faults.

    Returns:
        Whether anything was written; ``False`` if it held them already.

    Raises:
        SampleError: for settings that the grammar cannot meet, a directory that holds something else, or where
            eSpeak NG is not installed.
    """
    script = write_script(settings.utterances, settings.seed)
    made_from = digest_value({"settings": asdict(settings), "recipe": _recipe()})
    directory = directory.absolute()
    directory.parent.mkdir(parents=True, exist_ok=True)
    with _exclusive(directory):
        if directory.exists() and _is_complete(directory, made_from):
            return False
        # Only under the lock is it certain that nobody is writing into what a killed call left behind.
        for left in directory.parent.glob(f".{directory.name}.*.partial"):
            shutil.rmtree(left)
        with tempfile.TemporaryDirectory(
            prefix=f".{directory.name}.", suffix=".partial", dir=directory.parent
        ) as partial:
            written = Path(partial, "new")
            written.mkdir()
            _write(written, script, settings, console or Console(quiet=True))
            record = {"made_from": made_from, "listing": _listing(written)}
            (written / _RECORD_FILE).write_text(json.dumps(record, indent=1), encoding="utf-8")
            if directory.exists():
                directory.rename(Path(partial, "old"))
            written.rename(directory)
    return True


def _write(directory: Path, script: Script, settings: SampleSettings, console: Console) -> None:
    total = len(script.commands) + len(script.mandarin) + 2 * len(script.spoken_questions)
    with speech() as voices, Progress(console=console) as progress:
        task = progress.add_task("speaking", total=total)
        corpora = Corpora(directory, voices, settings.seed, lambda: progress.advance(task))
        corpora.write_commands(script.commands)
        corpora.write_mandarin(script.mandarin)
        corpora.write_questions(script.spoken_questions, script.written_questions)
    _write_faults(directory / FAULTS_FILE, corpora.faults)
    document = yaml.safe_dump(corpora_document(), sort_keys=False, allow_unicode=True)
    (directory / CORPORA_FILE).write_text(document, encoding="utf-8")


def _write_faults(path: Path, faults: list[PlantedFault]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["corpus", "row", "file", "fault", "ledger_reason", "description"])
        for one in faults:
            reason, description = LEDGER_REASONS[one.fault], DESCRIPTIONS[one.fault]
            writer.writerow([one.corpus, one.row_id, one.file, one.fault, reason, description])


def _is_complete(directory: Path, made_from: str) -> bool:
    """Whether the directory holds just what a call with the same settings would write, by names and sizes."""
    record_path = directory / _RECORD_FILE
    if not record_path.is_file():
        if any(directory.iterdir()):
            raise SampleError(
                f"{directory} holds something else than sample corpora: name an empty or a new directory"
            )
        return False
    record = json.loads(record_path.read_text(encoding="utf-8"))
    return bool(record == {"made_from": made_from, "listing": _listing(directory)})


def _recipe() -> str:
    """Digest of this package's own source: other code may say or write something else with the same settings."""
    return digest_value(
        [[path.name, path.read_text("utf-8")] for path in sorted(Path(__file__).parent.glob("*.py"))]
    )


def _listing(directory: Path) -> str:
    files = (path for path in directory.rglob("*") if path.is_file() and path.name != _RECORD_FILE)
    return digest_value(
        sorted((path.relative_to(directory).as_posix(), path.stat().st_size) for path in files)
    )


@contextmanager
def _exclusive(directory: Path) -> Iterator[None]:
    """Let one process at a time write ``directory``; the lock goes with the process, however it ends."""
    with directory.with_name(f".{directory.name}.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    defaults = SampleSettings()
    parser = argparse.ArgumentParser(
        prog="python -m assets.sample.speak", description="Speak the sample corpora."
    )
    parser.add_argument("directory", type=Path, help="where the corpora and their corpora.yaml go")
    parser.add_argument(
        "--utterances", type=int, default=defaults.utterances, help="audio files (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=defaults.seed, help="of who says what (%(default)s)")
    options = parser.parse_args(arguments)
    console = Console()
    try:
        written = speak_corpora(options.directory, SampleSettings(options.utterances, options.seed), console)
    except SampleError as error:
        sys.exit(f"assets.sample.speak: {error}")
    state = "spoken" if written else "already there, nothing to do"
    console.print(f"sample corpora: {state} ({options.directory / CORPORA_FILE})", soft_wrap=True)


if __name__ == "__main__":
    main()
