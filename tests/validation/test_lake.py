"""The lake: nothing half-written is ever seen, paths stay inside, contracts are checked on every write."""

from __future__ import annotations

import uuid
from pathlib import Path

import polars as pl
import pytest

from pipelines.sql import query
from validation import batches
from validation.lake import Lake, MissingTableError
from validation.lake_files import LakeFiles
from validation.ledger import LedgerRow, ledger_counts, ledger_frame, write_ledger_part
from validation.schemas import ContractError, frame_from_rows
from validation.steps import run_step, table_digest


@pytest.fixture(params=["directory", "object store"])
def lake(request, tmp_path) -> Lake:
    root = str(tmp_path / "lake") if request.param == "directory" else f"memory://{uuid.uuid4().hex}/lake"
    return Lake(root)


def tokens(corpus: str = "c", ids: tuple[int, ...] = (1, 2)) -> pl.DataFrame:
    row = {"corpus": corpus, "audio_digest": "a" * 64, "tokenizer_digest": "b" * 64, "token_ids": list(ids)}
    return frame_from_rows("audio_tokens", [{**row, "augmentation_digest": "", "duration_s": 1.0}])


def test_tables_come_back_as_they_were_written(lake):
    lake.write_table("audio_tokens", "one", tokens("one"))
    lake.write_table("audio_tokens", "two", tokens("two", (3,)))
    assert lake.read_table("audio_tokens", "one").equals(tokens("one"))
    assert lake.read_table("audio_tokens")["corpus"].to_list() == ["one", "two"]
    lake.remove_table("audio_tokens", "one")
    assert lake.read_table("audio_tokens")["corpus"].to_list() == ["two"]
    with pytest.raises(MissingTableError, match="audio_tokens has no partition 'one'"):
        lake.read_table("audio_tokens", "one")


def test_a_row_that_breaks_the_contract_is_named_and_nothing_is_written(lake):
    bad = tokens().with_columns(audio_digest=pl.lit("short"), duration_s=pl.lit(-1.0))
    with pytest.raises(ContractError, match=r"audio_digest.*'short'.*duration_s.*-1\.0"):
        lake.write_table("audio_tokens", "c", bad)
    assert not lake.has_table("audio_tokens", "c")


def test_a_broken_contract_names_partition_and_row(lake):
    rows = [LedgerRow("c", f"u{n}", f"f:{n}", "audio_22k", "truncated", "words") for n in range(3)]
    bad = ledger_frame(rows).with_columns(
        reason=pl.when(utterance_id="u1").then(pl.lit("because")).otherwise("reason")
    )
    with pytest.raises(ContractError) as caught:
        lake.write_table("ledger", "c--audio_22k", bad)
    for words in ("ledger", "'c--audio_22k'", "reason", "1 rows", "'u1'", "'because'"):
        assert words in str(caught.value)
    with pytest.raises(ContractError, match=r"c--audio_22k.*colour"):
        lake.write_table("ledger", "c--audio_22k", ledger_frame(rows).with_columns(colour=1))


def test_the_files_below_a_folder_are_listed_with_their_sizes(lake):
    assert lake.sizes("a") == {}
    for path, value in {"a/b.json": 1, "a/c/d.json": 22, "e.json": 3}.items():
        lake.write_json(path, value)
    assert lake.sizes("a") == {"a/b.json": 1, "a/c/d.json": 2}


def test_a_write_that_fails_leaves_the_old_file(lake):
    lake.write_json("a/b.json", {"old": 1})
    with pytest.raises(RuntimeError), lake.atomic_write("a/b.json") as stream:
        stream.write(b"half")
        raise RuntimeError
    assert lake.read_json("a/b.json") == {"old": 1}
    assert lake.list_files("a") == ["a/b.json"]
    assert lake.size("a/b.json") == len('{\n "old": 1\n}')
    assert lake.size("a/none.json") is None


def test_nothing_is_seen_before_it_is_whole(tmp_path):
    lake = LakeFiles(str(tmp_path))
    with lake.atomic_write("x.json") as stream:
        stream.write(b"{}")
        stream.flush()
        assert not lake.exists("x.json") and lake.list_files("") == []
    assert lake.exists("x.json")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["x.json"]


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x"])
def test_paths_stay_inside(lake, path):
    with pytest.raises(ValueError, match="leaves the lake"):
        lake.full_path(path)


def test_uris_open_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Lake("lake").uri("a/b") == f"{tmp_path.resolve()}/lake/a/b"
    assert Lake("s3://bucket/prefix/").uri("a/b") == "s3://bucket/prefix/a/b"


@pytest.mark.parametrize("name", ["run[1]", "run*", "run?", "run::1"])
def test_a_folder_of_any_name_is_that_folder_and_no_other(tmp_path, name):
    for one, rows in (("run1", 1), (name, 2)):
        ended = [LedgerRow("c", f"u{n}", "s", "raw_utterances", "empty_text", "d") for n in range(rows)]
        write_ledger_part(Lake(str(tmp_path / one)), "c", "raw_utterances", ended)
    lake = Lake(str(tmp_path / name))
    assert Path(lake.root).name == name
    assert ledger_counts(lake, "c")["rows"].to_list() == [2]
    assert query(lake, "SELECT count(*) AS rows FROM ledger")["rows"].to_list() == [2]


def test_queries_have_no_more_threads_than_their_memory_is_for(tmp_path, monkeypatch):
    monkeypatch.setattr(batches.os, "sched_getaffinity", lambda _: set(range(64)))
    with batches.database(Lake(str(tmp_path))) as connection:
        ((threads,),) = connection.execute("SELECT current_setting('threads')").fetchall()
    assert threads == 2


class Counter:
    """A step that writes one file and counts how often it runs."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.runs = 0

    def __call__(self) -> dict[str, int]:
        self.runs += 1
        self.lake.write_json("out.json", self.runs)
        return {"rows": self.runs}

    def run(self, inputs: str):
        return run_step(self.lake, "step", "c", inputs, ["out.json"], self)


def test_a_step_runs_again_for_new_inputs_or_a_lost_output_only(lake):
    step = Counter(lake)
    assert [step.run(inputs).recomputed for inputs in ("a", "a", "b", "b")] == [True, False, True, False]
    assert step.run("b").rows == 2
    lake.filesystem.rm(lake.full_path("out.json"))
    assert step.run("b").recomputed


def test_a_step_runs_again_while_its_output_is_not_whole(lake):
    step = Counter(lake)
    step.run("a")
    for is_whole in (False, True):
        outcome = run_step(lake, "step", "c", "a", ["out.json"], step, is_whole=lambda whole=is_whole: whole)
        assert outcome.recomputed is not is_whole
    assert step.runs == 2


def test_a_step_killed_while_it_wrote_is_not_taken_for_the_earlier_one(lake):
    step = Counter(lake)
    step.run("a")

    def killed() -> dict[str, int]:
        lake.write_json("out.json", "of b")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_step(lake, "step", "c", "b", ["out.json"], killed)
    assert step.run("a").recomputed
    assert lake.read_json("out.json") == 2


def test_a_tables_digest_is_of_its_content(lake):
    lake.write_table("audio_tokens", "c", tokens())
    first = table_digest(lake, "audio_tokens", "c")
    lake.write_table("audio_tokens", "c", tokens(ids=(9,)))
    assert table_digest(lake, "audio_tokens", "c") != first
    lake.write_table("audio_tokens", "c", tokens())
    assert table_digest(lake, "audio_tokens", "c") == first
    with pytest.raises(MissingTableError):
        table_digest(lake, "audio_tokens", "none")


def test_the_root_is_made_when_it_is_first_written(tmp_path):
    lake = Lake(str(tmp_path / "a" / "b"))
    assert lake.read_table("ledger").is_empty()
    assert lake.list_files("tables") == []
    lake.write_json("x.json", 1)
    assert Path(lake.root, "x.json").is_file()
