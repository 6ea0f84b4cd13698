"""Corpora in an object store: listed whole, read once, and every object that cannot be read is a row."""

from __future__ import annotations

import json
import tarfile
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest

from assets.corpora.config import CorporaFileError, load_corpora
from assets.corpora.ingest import ingest
from assets.corpora.root import CorpusRoot, OutsideRootError
from validation.lake import Lake
from validation.ledger import read_ledger
from validation.remote import ConfigurationError, StoreError

pytestmark = [pytest.mark.s3, pytest.mark.slow]

_ROWS = [("one", "the first text"), ("two", "the second text"), ("three", "the third text")]


@pytest.fixture
def corpus(s3, make, tmp_path):
    """LJSpeech's layout in the bucket, and its entry."""
    make.ljspeech(tmp_path / "made", _ROWS)
    s3.put_tree(tmp_path / "made", "lj")
    return make.entry("ljspeech", f"{s3.url}/lj")


@pytest.fixture
def hasty(monkeypatch) -> None:
    """A server that does not answer is given up within seconds: more than one takes that is busy."""
    monkeypatch.setenv("VOXLINE_S3_READ_TIMEOUT_S", "4")
    monkeypatch.setenv("VOXLINE_S3_ATTEMPTS", "2")


def ended(lake: Lake, corpus: str = "made") -> dict[str, str]:
    frame = read_ledger(lake, corpus)
    return dict(frame.select("utterance_id", "reason").iter_rows())


def test_a_listing_has_every_object_whatever_it_is_called(s3):
    s3.needs_ceph("takes any key")
    odd = [
        "a b+c%20.wav",
        "ü/語.wav",
        "#1?.wav",
        "q'uo\"te&.wav",
        "x//y.wav",
        "[a]*.wav",
        "n\nl.wav",
        "s3://x.wav",
    ]
    for key in [*odd, ".hidden", "d/.hidden/x.wav", "d/../up.wav", "d/./here.wav", "folder/", "z.tar"]:
        s3.put(f"p/{key}", "" if key.endswith("/") else "12")
    s3.put("p2/other.wav", "not below p")
    root = CorpusRoot(f"{s3.url}/p")
    assert root.exists
    assert list(root.files) == sorted([*odd, "z.tar"], key=str.encode)
    assert [fault.reason for fault in root.faults] == ["outside_root"] * 2
    assert [fault.source for fault in root.faults] == ["d/../up.wav", "d/./here.wav"]
    for key in odd:
        assert root.resolve(key) == key
        with root.open(key) as stream:
            assert stream.read() == b"12"
    assert root.resolve(root.uri("ü/語.wav")) == "ü/語.wav"
    for named in ("d/../up.wav", f"{s3.url}/p2/other.wav", "s3://other/p/z.tar", "/etc/passwd"):
        with pytest.raises(OutsideRootError):
            root.resolve(named)
    assert not CorpusRoot(f"{s3.url}/none").exists


def test_more_objects_than_a_page_holds(s3, proxy):
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda number: s3.put(f"p/{number:04}.wav", b""), range(1001)))
    s3.put("p/with text.wav", b"1")
    root = CorpusRoot(f"{s3.url}/p")
    assert len(root.files) == 1002 and list(root.audio_files())[-1] == "with text.wav"
    assert root.files["with text.wav"].size == 1
    assert proxy.counts() == {"List": 2}


def test_an_unchanged_corpus_is_listed_and_no_object_of_it_is_read(s3, proxy, corpus, lake):
    assert ingest(corpus, lake).rows == 3
    assert sorted(proxy.read_keys()) == [
        "lj/metadata.csv",
        *sorted(f"lj/wavs/{name}.wav" for name, _ in _ROWS),
    ]
    proxy.forget()
    again = ingest(corpus, lake)
    assert not again.recomputed and proxy.counts() == {"List": 1}


def test_a_changed_object_is_read_again_alone(s3, proxy, corpus, lake, make, tmp_path):
    ingest(corpus, lake)
    before = lake.read_table("raw_utterances", "made")
    s3.put("lj/wavs/two.wav", make.speech(tmp_path / "new.wav", seed=77).read_bytes())
    proxy.forget()
    assert ingest(corpus, lake).recomputed
    # Texts are read again, since rows come from them.
    assert sorted(proxy.read_keys()) == ["lj/metadata.csv", "lj/wavs/two.wav"]
    after = lake.read_table("raw_utterances", "made")
    changed = before.join(after, on=["utterance_id", "source_digest"], how="anti")
    assert changed["utterance_id"].to_list() == ["two"]


def test_an_object_that_cannot_be_read_is_a_row_and_tried_again(s3, proxy, corpus, lake, hasty):
    proxy.fail("stall", "GetObject", key="two.wav", after=100, times=1000)
    assert ingest(corpus, lake).rows == 2
    assert ended(lake) == {"two": "unreadable"}
    detail = read_ledger(lake, "made")["detail"][0]
    assert f"{s3.url}/lj/wavs/two.wav" in detail and "gave no whole answer" in detail
    proxy.faults.clear()
    proxy.forget()
    assert ingest(corpus, lake).rows == 3 and ended(lake) == {}
    assert "lj/wavs/one.wav" not in proxy.read_keys()


def test_a_refused_object_is_a_row(s3, corpus, lake, proxy):
    proxy.fail("status", "GetObject", key="three.wav", status=403, times=1000)
    ingest(corpus, lake)
    assert ended(lake) == {"three": "unreadable"}


def test_a_store_that_goes_away_ends_the_step_and_the_next_run_is_as_if_undisturbed(
    s3, proxy, corpus, make, tmp_path, hasty
):
    undisturbed, lake = Lake(str(tmp_path / "a")), Lake(str(tmp_path / "b"))
    make.run_all(corpus, undisturbed)
    proxy.fail("status", "GetObject", key=".wav", status=503, times=1000)
    with pytest.raises(StoreError, match=r"in a row"):
        ingest(corpus, lake)
    proxy.faults.clear()
    make.run_all(corpus, lake)
    for name in ("raw_utterances", "audio_22k", "audio_quality", "accepted_utterances", "ledger"):
        tables = [make.files_of(tmp_path / one / "tables" / name) for one in ("a", "b")]
        assert tables[0] and tables[0] == tables[1], name


def test_every_data_step_works_on_a_store_and_gives_the_same_tables(s3, corpus, make, tmp_path):
    local = Lake(str(tmp_path / "local"))
    remote = Lake(f"{s3.url}/lake")
    make.run_all(corpus, local)
    outcomes = make.run_all(corpus, remote)
    for name in ("raw_utterances", "audio_22k", "audio_quality", "accepted_utterances"):
        assert remote.read_table(name, "made").equals(local.read_table(name, "made")), name
    assert all(outcome.recomputed for outcome in outcomes)
    assert not any(outcome.recomputed for outcome in make.run_all(corpus, remote))
    assert s3.uploads() == []
    line = json.loads(s3.get("lake/jsonl/made/train.jsonl").splitlines()[0])
    assert line["audios"][0].startswith(f"{s3.url}/lake/audio_22k/made/")


def test_training_rows_in_a_store_are_read_back_by_their_urls(s3, corpus, make):
    lake = Lake(f"{s3.url}/lake")
    make.run_all(corpus, lake)
    back = make.entry("jsonl", f"{s3.url}/lake", name="back", options={"files": "jsonl/made/*.jsonl"})
    make.run_all(back, lake)
    accepted = lake.read_table("accepted_utterances", "back")
    audio = lake.read_table("audio_22k", "made")["audio_digest"]
    assert accepted.filter(pl.col("audio_digest").is_not_null())["audio_digest"].is_in(audio.to_list()).all()
    assert not accepted.is_empty()


def test_a_tar_and_a_large_recording_in_a_store(s3, make, lake, tmp_path):
    make.speech(tmp_path / "long.wav", seconds=40.0, rate=44_100)
    (tmp_path / "long.txt").write_text("a text of some forty words " * 12)
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name in ("long.wav", "long.txt"):
            tar.add(tmp_path / name, name)
    s3.put("w/x.tar", (tmp_path / "x.tar").read_bytes())
    s3.put("w/data.list", f"{s3.url}/w/x.tar\n")
    entry = make.entry("wenet_list", f"{s3.url}/w", options={"data_type": "shard"})
    make.run_all(entry, lake)
    table = lake.read_table("audio_22k", "made")
    assert table["duration_s"].to_list() == pytest.approx([40.0], abs=0.01), ended(lake)


# --- what is wrong with the store ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "prefix", "words"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong-key-x"}, "", "refuses the credentials .SignatureDoesNotMatch."),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "", "refuses the credentials .InvalidAccessKeyId."),
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "", "no credentials.*AWS_ACCESS_KEY_ID"),
        ({}, "no-such-bucket", "has no bucket 't-.*no-such-bucket'"),
        (
            {"AWS_ENDPOINT_URL": "http://user:pw-x@127.0.0.1:9"},
            "",
            r"http://127\.0\.0\.1:9 gave no whole answer",
        ),
        ({"AWS_ENDPOINT_URL": "127.0.0.1"}, "", "AWS_ENDPOINT_URL is no URL"),
    ],
)
def test_a_store_that_is_not_to_be_had_is_told_before_any_work(
    s3, corpus, tmp_path, monkeypatch, environment, prefix, words
):
    s3.needs_ceph("checks credentials")
    monkeypatch.setenv("VOXLINE_S3_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    for name, value in environment.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    root = f"{s3.url}{prefix}/lj"
    file = tmp_path / "corpora.yaml"
    text = {"name": "c", "reader": "ljspeech", "root": root, "licence": "CC0-1.0", "language": "en"}
    file.write_text(json.dumps({"corpora": [text]}))
    for check in (lambda: load_corpora(file), Lake(root).check):
        with pytest.raises((StoreError, CorporaFileError), match=rf"(?s)s3://t-.*{words}") as caught:
            check()
        for secret in ("demosecret", "wrong-key-x", "pw-x"):
            assert secret not in str(caught.value)


def test_an_endpoint_that_nobody_knows_is_told(s3, monkeypatch):
    monkeypatch.setenv("VOXLINE_S3_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store.invalid:8000")
    with pytest.raises(StoreError, match=r"http://store\.invalid:8000 gave no whole answer"):
        Lake(s3.url).check()


def test_a_prefix_that_may_not_be_written_is_told(s3, proxy):
    proxy.fail("status", "PutObject", status=403, times=10)
    with pytest.raises(StoreError, match="access is refused"):
        Lake(f"{s3.url}/lake").check()
    assert s3.keys() == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ATTEMPTS", "0", "attempts"),
        ("PART_MIB", "4", "part_mib"),
        ("SPEED", "1", "VOXLINE_S3_SPEED; known are"),
    ],
)
def test_wrong_settings_are_refused_by_name(monkeypatch, name, value, words):
    monkeypatch.setenv(f"VOXLINE_S3_{name}", value)
    with pytest.raises(ConfigurationError, match=words):
        Lake("s3://bucket/lake")


@pytest.mark.parametrize("url", ["s3://", "s3:///lake", "s3://key:secret-x@bucket/lake"])
def test_urls_without_a_bucket_or_with_credentials_are_refused(url):
    with pytest.raises(ConfigurationError, match="credentials in the environment only") as caught:
        Lake(url)
    assert "secret-x" not in str(caught.value)
