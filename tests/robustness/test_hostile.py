"""A corpus that means harm reaches nothing outside its root and the lake, starts nothing, and takes bounded memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import polars as pl
import pytest
from rich.console import Console
from robustness.hostile import PATHS, TEXTS, hostile_corpora

from pipelines.sql import as_table, query
from validation.lake import Lake

_TESTS = Path(__file__).resolve().parents[1]
_MOST_MIB = 1_500
_NEVER_READ = {"outside_root", "missing_audio", "unsafe_member", "malformed_row"}


class Watched:
    """What one watched run left and said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lake = Lake(str(folder / "lake"))
        corpora = hostile_corpora(folder / "corpora")
        before = listing(folder)
        ffmpeg = os.path.realpath(imageio_ffmpeg.get_ffmpeg_exe())
        done = subprocess.run(
            [sys.executable, "-m", "robustness.guarded", str(corpora), self.lake.root, ffmpeg],
            env={**os.environ, "PYTHONPATH": f"{_TESTS.parent}{os.pathsep}{_TESTS}", "OMP_NUM_THREADS": "1"},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        self.created = listing(folder) - before
        self.said: dict[str, Any] = json.loads(done.stdout)
        self.ledger = self.lake.read_table("ledger")

    def reasons(self, corpus: str) -> dict[str, str]:
        rows = self.ledger.filter(pl.col("corpus") == corpus)
        return dict(zip(rows["utterance_id"].str.strip_suffix("#0"), rows["reason"], strict=True))


def listing(folder: Path) -> set[str]:
    """All names outside of the lake."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    return {name for name in found if not f"{name}/".startswith("lake/")}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    return Watched(tmp_path_factory.mktemp("hostile"))


def test_nothing_is_written_outside_of_the_lake(watched: Watched) -> None:
    assert watched.created == set()


def test_memory_is_bounded_whatever_headers_and_lines_claim(watched: Watched) -> None:
    assert watched.said["peak_kib"] / 1024 < _MOST_MIB


@pytest.mark.parametrize("corpus", ["table", "jsonl", "kaldi"])
def test_no_name_in_a_list_leads_out_of_the_root(watched: Watched, corpus: str) -> None:
    reasons = watched.reasons(corpus)
    tried = [name for name in PATHS if name in reasons]
    assert len(tried) >= len(PATHS) - 1  # a line of Kaldi's has no spaces
    assert {name: reasons[name] for name in tried if reasons[name] not in _NEVER_READ} == {}
    assert reasons["link_proc"] == "outside_root"


def test_no_path_in_a_column_leads_out_of_the_root_and_its_pickles_stay_shut(watched: Watched) -> None:
    reasons = watched.reasons("columns")
    paths = [reasons[f"harm.parquet:{row}"] for row in range(len(PATHS))]
    assert set(paths) <= _NEVER_READ
    content = [reasons[f"harm.parquet:{row}"] for row in range(len(PATHS), len(PATHS) + 4)]
    assert content == ["accepted", "not_audio", "not_audio", "empty_file"]
    assert reasons["bomb.parquet:0"] == "not_audio"


def test_members_that_are_no_files_or_lead_elsewhere_are_not_read(watched: Watched) -> None:
    reasons = watched.reasons("shards")
    unsafe = ["../../up", "/absolute", "a/../../b", "device", "fifo", "hard", "link", "sparse", "twice"]
    assert {name: reasons[name] for name in unsafe} == dict.fromkeys(unsafe, "unsafe_member")
    files = {"huge.tar": "truncated", "loop.tar": "truncated", "extended.tar": "decode_error"}
    assert {name: reasons[name] for name in files} == files
    assert [reasons[f"data.list:{line}"] for line in (6, 7, 8)] == ["outside_root"] * 3
    assert reasons["good"] in ("accepted", "missing_audio")  # one of that name in each of two shards


def test_headers_that_claim_hours_are_told_without_their_hours(watched: Watched) -> None:
    reasons = watched.reasons("headers")
    allowed = {"truncated", "decode_error", "too_long", "not_audio", "sample_rate", "no_frames"}
    assert {name: reason for name, reason in reasons.items() if reason not in allowed} == {}
    for name in ("hours.wav", "rf64.wav", "frames.aiff", "hours.sph"):
        assert reasons[name] == "truncated", name
    # Of these nothing is there that a person could accept.
    nothing = {"hours.au": "no_frames", "hours.mp4": "decode_error", "hours.webm": "decode_error"}
    assert {name: reasons[name] for name in nothing} == nothing
    for name in ("hours.flac", "silence.flac", "silence_unstated.flac"):
        assert reasons[name] == "too_long", name


def test_lines_without_an_end_and_brackets_without_number_are_rows(watched: Watched) -> None:
    details = watched.ledger.filter(pl.col("corpus") == "jsonl", pl.col("reason") == "malformed_row")[
        "detail"
    ]
    told = "\n".join(details)
    assert "one_line.jsonl:1: a line of more than" in told
    assert told.count("maximum recursion depth") == 2
    assert watched.reasons("table")["t.tsv:33"] == "malformed_row"


def test_what_corpora_say_is_shown_and_does_nothing(watched: Watched) -> None:
    pages = "".join(path.read_text("utf-8") for path in Path(watched.lake.root, "reports").glob("*.html"))
    assert "alert(1)" in pages and "<script>alert" not in pages and "onerror=alert(1)>" not in pages
    shown = "".join(watched.said["inspected"].values())
    assert not [character for character in shown if ord(character) < 32 and character != "\n"]
    jsonl = Path(watched.lake.root, "jsonl/jsonl/train.jsonl").read_text("utf-8")
    assert TEXTS["control_token"] not in [
        message["content"] for line in jsonl.splitlines() for message in json.loads(line)["messages"]
    ]


def test_a_terminal_gets_no_commands_from_a_table(watched: Watched) -> None:
    frame = query(watched.lake, "SELECT utterance_id, source, detail FROM ledger")
    console = Console(width=200)
    with console.capture() as captured:
        console.print(as_table(frame))
    text = captured.get()
    assert "\\x1b[2J" in text
    assert not [character for character in text if ord(character) < 32 and character != "\n"]
