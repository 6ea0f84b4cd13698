"""What is forgotten is nowhere any more, does not come back, and costs nobody else anything."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets.audio.fingerprints import make_fingerprints
from assets.workspace import Workspace
from pipelines.forgetting import forget, opened
from training_jobs.plan import SAMPLES_FILE, SAMPLES_SCHEMA
from validation.batches import database
from validation.errors import UserError
from validation.forget import NothingToForgetError
from validation.forget_purge import stored_corpora, unused_audio
from validation.forgotten import Selector
from validation.lake import Lake
from validation.leakage_duplicates import find_duplicates
from validation.ledger import balance
from validation.schemas import frame_from_rows

ANN = Selector("speaker", "zebediah")
TEXTS = {"a1": "quincunx rows", "a2": "the ochre lantern", "b1": "plain words", "b2": "other words"}
SPEAKERS = {"a1": "zebediah", "a2": "zebediah", "b1": "ben", "b2": "ben"}
ROWS = ("q" * 64, "r" * 64)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def workspace(home: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv("VOXLINE_LAKE", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Workspace(home=str(home))


def table_corpus(root: Path, make: Any, name: str = "made", **more: Any) -> Any:
    """Four recordings of two speakers; two of the second one's are copies of the first one's in ``copied``."""
    lines = ["file,text,who"]
    for seed, (row, text) in enumerate(TEXTS.items()):
        make.speech(root / "audio" / SPEAKERS[row] / f"{row}.wav", seed=seed)
        lines.append(f"audio/{SPEAKERS[row]}/{row}.wav,{text},{SPEAKERS[row]}")
    (root / "rows.csv").write_text("\n".join(lines) + "\n")
    options = {"file": "rows.csv", "audio": "file", "text": "text", "speaker": "who"}
    return make.entry("table", root, name=name, options=options, **more)


def prepare(entry: Any, lake: Lake, make: Any) -> None:
    """All data steps, as the graph runs them."""
    make.run_all(entry, lake)
    make_fingerprints(entry, lake)
    find_duplicates(lake, [entry.name])
    digests = lake.read_table("accepted_utterances", entry.name)["audio_digest"].to_list()
    tokens = [
        {
            "corpus": entry.name,
            "audio_digest": digest,
            "tokenizer_digest": "c" * 64,
            "augmentation_digest": "",
            "token_ids": [1, 2],
            "duration_s": 1.0,
        }
        for digest in sorted(set(digests))
    ]
    lake.write_table("audio_tokens", entry.name, frame_from_rows("audio_tokens", tokens))


def apply(workspace: Workspace, selector: Selector, copies: bool = False) -> Any:
    with opened(workspace, selector, copies) as request:
        return forget(request, "tester", "asked by letter")


def holds(folder: Path, *needles: str) -> list[str]:
    """Files with one of the needles in their bytes, Parquet's unpacked, or in their names."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        text = path.read_bytes()
        if path.suffix == ".parquet":
            text += json.dumps(pl.read_parquet(path).to_dicts(), default=str, ensure_ascii=False).encode()
        named = path.relative_to(folder).as_posix().encode()
        found += [str(path) for needle in needles if needle.encode() in text or needle.encode() in named]
    return found


def test_nothing_of_a_forgotten_speaker_is_left_and_the_ledger_balances(tmp_path, make, workspace):
    entry, lake = table_corpus(tmp_path / "c", make), workspace.lake
    prepare(entry, lake, make)
    stored = lake.read_table("audio_22k", "made").filter(pl.col("utterance_id").str.contains("zebediah"))
    needles = ["zebediah", "quincunx", "ochre", *stored["audio_digest"]]
    assert len(needles) == 5
    assert holds(Path(lake.root), *needles)
    apply(workspace, ANN)
    # At once, and without the corpus' root.
    assert holds(Path(lake.root), *needles) == []
    prepare(entry, lake, make)
    assert holds(Path(lake.root), *needles) == []
    found = balance(lake, "made")
    assert found.holds
    assert (found.read, found.accepted, found.rejected) == (4, 2, 2)
    ledger = lake.read_table("ledger").filter(pl.col("reason") == "forgotten")
    assert ledger["outcome"].to_list() == ["rejected"] * 2
    assert all(name.startswith("forgotten:") for name in ledger["utterance_id"])
    assert lake.read_table("training_rows", "made")["speaker"].unique().to_list() == ["ben"]
    (request,) = lake.read_table("forgotten").filter(pl.col("corpus").is_null(), kind="speaker").to_dicts()
    assert (request["by"], request["why"], request["rows"]) == ("tester", "asked by letter", 2)


def test_a_forgotten_speaker_does_not_come_back_with_new_files_or_under_new_names(tmp_path, make, workspace):
    entry, lake = table_corpus(tmp_path / "c", make), workspace.lake
    prepare(entry, lake, make)
    apply(workspace, ANN)
    make.speech(tmp_path / "c" / "audio" / "new.wav", seed=77)
    shutil.copy(tmp_path / "c" / "audio" / "zebediah" / "a1.wav", tmp_path / "c" / "audio" / "copy.wav")
    with (tmp_path / "c" / "rows.csv").open("a") as table:
        table.write("audio/new.wav,new words,zebediah\naudio/copy.wav,innocent words,carl\n")
    prepare(entry, lake, make)
    ended = lake.read_table("ledger").filter(pl.col("reason") == "forgotten")
    assert ended.height == 4
    assert balance(lake, "made").holds
    assert holds(Path(lake.root), "zebediah", "new words", "innocent", "copy.wav") == []


def test_a_listing_names_every_holder_and_changes_nothing(tmp_path, make, workspace):
    entry, lake = table_corpus(tmp_path / "c", make), workspace.lake
    prepare(entry, lake, make)
    before = make.files_of(Path(lake.root))
    with opened(workspace, ANN, with_copies=False) as request:
        assert request.rows == {"made": 2}
        kinds = {}
        for one in request.holdings():
            kinds.setdefault(one.kind, []).append(one)
    counts = {kind: len(found) for kind, found in kinds.items()}
    assert counts == {
        "row": 2,
        "stored_audio": 2,
        "raw_utterances": 2,
        "audio_22k": 2,
        "audio_quality": 2,
        "accepted_utterances": 2,
        "ledger": 2,
        "jsonl_line": 4,
        "training_rows": 4,
        "audio_fingerprints": 2,
        "audio_tokens": 2,
    }
    assert {one.place for one in kinds["jsonl_line"]} == {f"jsonl/made/train.jsonl:{n}" for n in range(1, 5)}
    assert make.files_of(Path(lake.root)) == before


def test_audio_that_another_row_has_too_stays_and_is_named(tmp_path, make, workspace):
    entry, lake = table_corpus(tmp_path / "c", make), workspace.lake
    shutil.copy(tmp_path / "c/audio/zebediah/a1.wav", tmp_path / "c/audio/ben/b1.wav")
    prepare(entry, lake, make)
    with opened(workspace, ANN, with_copies=False) as request:
        shared = [one for one in request.holdings() if one.kind == "shared_audio"]
        stays = [one for one in request.holdings() if one.kind == "stored_audio" and one.note]
    assert [one.what for one in shared] == ["audio/ben/b1.wav"]
    assert len(stays) == 1
    apply(workspace, ANN)
    prepare(entry, lake, make)
    assert lake.read_table("training_rows", "made")["speaker"].unique().to_list() == ["ben"]
    assert lake.exists(stays[0].place)
    assert balance(lake, "made").accepted == 2


def test_copies_go_along_where_they_are_asked_for(tmp_path, make, workspace):
    entry, lake = table_corpus(tmp_path / "c", make), workspace.lake
    shutil.copy(tmp_path / "c/audio/zebediah/a1.wav", tmp_path / "c/audio/ben/b1.wav")
    prepare(entry, lake, make)
    apply(workspace, ANN, copies=True)
    prepare(entry, lake, make)
    found = balance(lake, "made")
    assert (found.accepted, found.rejected, found.holds) == (1, 3, True)


@pytest.mark.parametrize("kind", ["file", "utterance", "licence"])
def test_files_utterances_and_licences_are_forgotten_too(tmp_path, make, workspace, kind):
    entry, lake = table_corpus(tmp_path / "c", make), workspace.lake
    other = table_corpus(tmp_path / "d", make, name="other", licence="CC-BY-NC-4.0")
    for one in (entry, other):
        prepare(one, lake, make)
    value = {"licence": "CC-BY-NC-4.0"}.get(kind, "audio/zebediah/a1.wav")
    apply(workspace, Selector(kind, value, None if kind == "licence" else "made"))
    for one in (entry, other):
        prepare(one, lake, make)
    accepted = {name: balance(lake, name).accepted for name in ("made", "other")}
    assert accepted == ({"made": 4, "other": 0} if kind == "licence" else {"made": 3, "other": 4})
    assert all(balance(lake, name).holds for name in ("made", "other"))


def test_all_of_a_conversation_goes_with_one_of_its_voices(tmp_path, make, workspace):
    talk = [{"role": "user", "content": "<|audio|>"}, {"role": "assistant", "content": "quincunx\n<|audio|>"}]
    rows = [
        {"id": "talk", "messages": talk, "audios": ["q.wav", "a.wav"], "speaker": "ben"},
        {"id": "rest", "messages": talk, "audios": ["x.wav", "y.wav"], "speaker": "ben"},
    ]
    entry, lake = make.jsonl(tmp_path / "c", rows), workspace.lake
    prepare(entry, lake, make)
    apply(workspace, Selector("utterance", "talk#1"))
    prepare(entry, lake, make)
    assert lake.read_table("raw_utterances", "made")["conversation_id"].unique().to_list() == ["rest"]
    assert lake.read_table("training_rows", "made")["row_id"].to_list() == ["rest"]


def test_killed_anywhere_and_done_again_it_ends_the_same(tmp_path, make, workspace, monkeypatch):
    entry, lake = table_corpus(tmp_path / "c", make), workspace.lake
    prepare(entry, lake, make)
    before = tmp_path / "before"
    shutil.copytree(lake.root, before)
    apply(workspace, ANN)
    prepare(entry, lake, make)
    whole = content_of(lake)
    writes = Lake.atomic_write
    removes = Lake.remove
    for limit in (0, 1, 3, 7, 12, 20):
        shutil.rmtree(lake.root)
        shutil.copytree(before, lake.root)
        left = [limit]

        def dies(one: Any, left: list[int] = left) -> Any:
            def step(*arguments: Any, **more: Any) -> Any:
                left[0] -= 1
                if left[0] < 0:
                    raise KeyboardInterrupt
                return one(*arguments, **more)

            return step

        monkeypatch.setattr(Lake, "atomic_write", dies(writes))
        monkeypatch.setattr(Lake, "remove", dies(removes))
        with contextlib.suppress(KeyboardInterrupt):
            apply(workspace, ANN)
        monkeypatch.setattr(Lake, "atomic_write", writes)
        monkeypatch.setattr(Lake, "remove", removes)
        apply(workspace, ANN)
        prepare(entry, lake, make)
        assert content_of(lake) == whole, limit


def content_of(lake: Lake) -> dict[str, Any]:
    """Every file, but for when the request was made and what records of runs say of the time."""
    found: dict[str, Any] = {}
    for path in sorted(Path(lake.root).rglob("*")):
        name = path.relative_to(lake.root).as_posix()
        if path.is_file() and name.startswith("tables/forgotten/"):
            found[name] = pl.read_parquet(path).drop("at").to_dicts()
        elif path.is_file() and not name.startswith(("tables/ledger_history", "work/ledger_history")):
            found[name] = path.read_bytes()
    return found


def test_what_nobody_has_is_an_error_and_a_request_made_twice_is_not(tmp_path, make, workspace):
    entry, lake = table_corpus(tmp_path / "c", make), workspace.lake
    prepare(entry, lake, make)
    with pytest.raises(NothingToForgetError, match=r"no row of any corpus .* has the speaker 'nobody'"):
        apply(workspace, Selector("speaker", "nobody"))
    with pytest.raises(UserError, match=r"no such corpus; it has \['made'\]"):
        apply(workspace, Selector("speaker", "zebediah", "elsewhere"))
    apply(workspace, ANN)
    first = lake.read_table("forgotten")
    prepare(entry, lake, make)
    with opened(workspace, ANN, with_copies=False) as request:
        assert request.rows == {}
        assert request.asked is not None and request.asked["by"] == "tester"
    apply(workspace, ANN)
    assert lake.read_table("forgotten").equals(first)


def test_packs_let_go_of_the_rows_and_checkpoints_that_saw_them_are_known(tmp_path, make, workspace, home):
    entry, lake = table_corpus(tmp_path / "c", make), workspace.lake
    prepare(entry, lake, make)
    profile = home / "training" / "tiny"
    pack, clean = profile / "stage_packs" / "p1", profile / "stage_packs" / "p2"
    rows = lake.read_table("training_rows", "made")
    for directory, wanted in ((pack, rows), (clean, rows.filter(speaker="ben"))):
        directory.mkdir(parents=True)
        samples = wanted.with_row_index("row").with_columns(tokens=pl.lit(9))
        schema = {name: pl.col(name).cast(kind) for name, kind in SAMPLES_SCHEMA.items()}
        samples.select(**schema).write_parquet(directory / SAMPLES_FILE)
        for name in ("input_ids.npy", "plan.json", "log.txt"):
            (directory / name).write_text("audio/zebediah/a1.wav:asr" if directory == pack else "")
        (directory / "result.json").write_text("{}")
    for stage, name, start, packs in (
        ("text_audio_alignment", "s1", profile / "base_model/b/model", pack),
        ("single_mctp", "s2", profile / "text_audio_alignment/s1/model", clean),
        ("single_mctp", "s3", profile / "text_audio_alignment/s0/model", clean),
    ):
        directory = profile / stage / name
        directory.mkdir(parents=True)
        job = {"packs_dir": str(packs), "start_dir": str(start)}
        (directory / "job.json").write_text(json.dumps(job))
        (directory / "result.json").write_text(json.dumps({"mlflow_run_id": f"run-{name}"}))
    saw = ["text_audio_alignment/s1", "single_mctp/s2"]
    with opened(workspace, ANN, with_copies=False) as request:
        (found,) = request.lineage.packs
        assert set(found.names) == {
            f"made/audio/zebediah/{row}.wav:{t}" for row in ("a1", "a2") for t in ("asr", "tts")
        }
        assert [f"{one.stage}/{one.path.name}" for one in request.lineage.checkpoints] == saw
    done = apply(workspace, ANN)
    assert done.outputs == [pack]
    assert holds(profile / "stage_packs", "zebediah") == []
    # Not whole any more, and what else was in it is still known.
    assert not (pack / "result.json").exists() and (clean / "result.json").exists()
    with opened(workspace, Selector("speaker", "ben"), with_copies=False) as request:
        assert [one.path for one in request.lineage.packs] == [pack, clean]
    with opened(workspace, ANN, with_copies=False) as request:
        assert [f"{one.stage}/{one.path.name}" for one in request.lineage.checkpoints] == saw


def test_runs_and_versions_are_tagged_and_none_is_deleted(tmp_path, make, workspace, home):
    from mlflow import MlflowClient

    entry, lake = table_corpus(tmp_path / "c", make), workspace.lake
    prepare(entry, lake, make)
    client = MlflowClient(tracking_uri=workspace.tracking_uri, registry_uri=workspace.tracking_uri)
    run = client.create_run(client.create_experiment("voxline/training", str(home / "mlartifacts")))
    client.create_registered_model("vita-audio-mctp")
    version = client.create_model_version("vita-audio-mctp", "s3://nowhere/model", run.info.run_id)
    profile = home / "training" / "tiny"
    for asset, name, job, result in (
        ("sft", "s", {"packs_dir": "stage_packs/p", "start_dir": "x"}, {"mlflow_run_id": run.info.run_id}),
        ("registered_model", "r", {"model_dir": str(profile / "sft/s/model")}, {"version": version.version}),
    ):
        (profile / asset / name).mkdir(parents=True)
        (profile / asset / name / "job.json").write_text(json.dumps(job))
        (profile / asset / name / "result.json").write_text(json.dumps(result))
    pack = profile / "stage_packs" / "p"
    pack.mkdir(parents=True)
    rows = lake.read_table("training_rows", "made").with_columns(row=0, tokens=9)
    schema = {name: pl.col(name).cast(kind) for name, kind in SAMPLES_SCHEMA.items()}
    rows.select(**schema).write_parquet(pack / SAMPLES_FILE)
    done = apply(workspace, ANN)
    assert done.tagged == [f"run {run.info.run_id}", f"version {version.version}"]
    assert client.get_run(run.info.run_id).data.tags["voxline.forgotten"] == ANN.request
    tags = client.get_model_version("vita-audio-mctp", version.version).tags
    assert tags["voxline.forgotten"] == ANN.request


def test_stored_audio_of_files_that_are_gone_is_found(tmp_path, make, workspace):
    entry, lake = table_corpus(tmp_path / "c", make), workspace.lake
    prepare(entry, lake, make)
    stored = lake.read_table("audio_22k", "made").filter(pl.col("utterance_id").str.ends_with("b2.wav"))
    lines = (tmp_path / "c" / "rows.csv").read_text().splitlines()
    (tmp_path / "c" / "rows.csv").write_text("\n".join(lines[:-1]) + "\n")
    (tmp_path / "c" / "audio" / "ben" / "b2.wav").unlink()
    prepare(entry, lake, make)
    assert stored_corpora(lake) == ["made"]
    with database(lake) as connection:
        unused = list(unused_audio(connection, lake, ["made"]))
    assert [path for path, _ in unused] == stored["audio_path"].to_list()
    assert unused[0][1] == lake.size(unused[0][0])
