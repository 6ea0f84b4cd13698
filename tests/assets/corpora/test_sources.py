"""Audio that rows name is located below the root, and each file is read once however many rows name it."""

from __future__ import annotations

import io
import tarfile
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import assets.corpora.sources as sources_module
from assets.corpora.root import CorpusRoot
from assets.corpora.sources import Located, Sources
from assets.corpora.utterance import SourceProblem, Utterance
from validation.digests import digest_bytes
from validation.lake import Lake


def row(audio: str | None) -> Utterance:
    return Utterance("u", "list:1", audio, "hello", "x")


@pytest.fixture
def root(tmp_path) -> CorpusRoot:
    folder = tmp_path / "c"
    folder.mkdir()
    for name in ("a.wav", "b.wav", "odd.tar!x.wav"):
        (folder / name).write_bytes(name.encode() * 1_000)
    with tarfile.open(folder / "s.tar", "w") as tar:
        for name, content in (
            ("x.wav", b"1" * 700),
            ("y.wav", b"2" * 900),
            ("twice.wav", b"3"),
            ("twice.wav", b"4"),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return CorpusRoot(str(folder))


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    names: list[str] = []
    really = CorpusRoot.open
    monkeypatch.setattr(CorpusRoot, "open", lambda self, name: names.append(name) or really(self, name))
    return names


def test_each_file_and_each_tar_is_read_once_over_all_batches(root, opened):
    with Sources(root) as sources:
        for _ in range(3):
            found = sources.locate(
                [row("a.wav"), row("s.tar!y.wav"), row(None), row("a.wav"), row("s.tar!x.wav")]
            )
            assert found[2] is None and found[0] == found[3]
            file, member = found[0], found[1]
            assert isinstance(file, Located) and isinstance(member, Located)
            assert (file.digest, file.offset, file.size) == (digest_bytes(b"a.wav" * 1_000), None, 5_000)
            assert (member.digest, member.size) == (digest_bytes(b"2" * 900), 900)
            assert member.uri == f"{root.path}/s.tar!y.wav"
    assert sorted(opened) == ["a.wav", "s.tar"]


def test_a_file_that_is_named_like_a_member_is_a_file(root):
    with Sources(root) as sources:
        (found,) = sources.locate([row("odd.tar!x.wav")])
    assert isinstance(found, Located) and found.offset is None


def test_what_did_not_change_is_not_read_again(root, tmp_path, opened):
    lake = Lake(str(tmp_path / "lake"))
    rows = [row("a.wav"), row("b.wav"), row("s.tar!y.wav"), row("s.tar!twice.wav")]
    with Sources(root) as sources:
        before = sources.locate(rows)
        sources.keep(lake, "work/kept.parquet")
    opened.clear()
    (tmp_path / "c" / "b.wav").write_bytes(b"other")
    changed = CorpusRoot(root.path)
    with Sources(changed) as sources:
        sources.remember(lake, "work/kept.parquet")
        after = sources.locate([*rows[:3], row("s.tar!x.wav"), row("s.tar!gone.wav")])
    assert opened == ["b.wav"]
    assert after[0] == before[0] and after[2] == before[2]
    assert isinstance(after[1], Located) and after[1].digest == digest_bytes(b"other")
    assert isinstance(after[3], Located)
    assert isinstance(after[4], SourceProblem) and after[4].reason == "missing_audio"


def test_what_could_not_be_read_is_not_remembered(root, tmp_path, monkeypatch):
    lake = Lake(str(tmp_path / "lake"))

    def fail(self: CorpusRoot, name: str):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken, Sources(root) as sources:
        broken.setattr(CorpusRoot, "open", fail)
        sources.locate([row("a.wav")])
        sources.keep(lake, "work/kept.parquet")
    with Sources(root) as sources:
        sources.remember(lake, "work/kept.parquet")
        assert isinstance(sources.locate([row("a.wav")])[0], Located)


@pytest.mark.parametrize(
    ("audio", "reason", "words"),
    [
        ("gone.wav", "missing_audio", "not among the files"),
        ("gone.tar!x.wav", "missing_audio", "not among the files"),
        ("s.tar!z.wav", "missing_audio", "no such member"),
        ("a.wav!x.wav", "missing_audio", "not among the files"),
        ("s.tar!twice.wav", "unsafe_member", "twice"),
        ("../s.tar!x.wav", "outside_root", "leads out"),
        ("/etc/s.tar!x.wav", "outside_root", "outside the root"),
    ],
)
def test_what_is_not_to_be_had_says_why(root, audio, reason, words):
    with Sources(root) as sources:
        (found,) = sources.locate([row(audio)])
    assert isinstance(found, SourceProblem)
    assert found.reason == reason and words in found.detail and found.detail.startswith("list:1: ")


def test_a_tar_that_cannot_be_read_is_told_by_each_row(root, monkeypatch):
    def fail(self: CorpusRoot, name: str):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(CorpusRoot, "open", fail)
    with Sources(root) as sources:
        found = sources.locate([row("s.tar!x.wav"), row("s.tar!y.wav"), row("a.wav")])
    assert [one.reason for one in found if isinstance(one, SourceProblem)] == ["unreadable"] * 3


def test_what_is_wrong_with_a_member_is_the_same_when_its_tar_is_not_read_again(root, tmp_path, opened):
    lake = Lake(str(tmp_path / "lake"))
    with Sources(root) as sources:
        before = sources.locate([row("s.tar!twice.wav")])
        sources.keep(lake, "work/kept.parquet")
    opened.clear()
    with Sources(root) as sources:
        sources.remember(lake, "work/kept.parquet")
        after = sources.locate([row("s.tar!twice.wav")])
    (found,) = after
    assert isinstance(found, SourceProblem) and found.reason == "unsafe_member"
    assert after == before and opened == []


def test_a_forgotten_member_is_not_kept_and_found_again_by_the_next_run(root, tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    for _ in range(3):
        with Sources(root) as sources:
            sources.remember(lake, "work/kept.parquet")
            for _ in range(2):  # two batches that name it
                (found,) = sources.locate([row("s.tar!x.wav")])
                assert isinstance(found, Located)
                sources.forget(found.uri)
            sources.keep(lake, "work/kept.parquet")
        with lake.open("work/kept.parquet") as stream:
            assert not [uri for uri in pq.read_table(stream)["uri"].to_pylist() if uri.endswith("x.wav")]


def test_an_index_of_an_earlier_version_is_not_taken_over(root, tmp_path, opened):
    lake = Lake(str(tmp_path / "lake"))
    with lake.atomic_write("work/kept.parquet") as stream:
        pq.write_table(pa.table({"uri": [f"{root.path}/a.wav"], "file": ["a.wav"]}), stream)
    with Sources(root) as sources:
        sources.remember(lake, "work/kept.parquet")
        sources.locate([row("a.wav")])
    assert opened == ["a.wav"]


def test_from_a_store_more_files_are_read_at_once_than_from_a_disk(tmp_path, monkeypatch):
    folder = tmp_path / "c"
    folder.mkdir()
    names = [f"{number}.wav" for number in range(12)]
    for name in names:
        (folder / name).write_bytes(b"1")
    together = threading.Barrier(len(names))
    really = CorpusRoot.open

    def wait_for_the_others(self, name):
        together.wait(timeout=120)
        return really(self, name)

    monkeypatch.setattr(CorpusRoot, "open", wait_for_the_others)
    monkeypatch.setattr(sources_module, "is_s3", lambda url: True)
    monkeypatch.setattr(sources_module, "_TOGETHER", 1)
    with Sources(CorpusRoot(str(folder))) as sources:
        assert all(isinstance(found, Located) for found in sources.locate([row(name) for name in names]))


def test_the_index_of_a_tar_with_many_members_is_never_held_as_a_whole(tmp_path, monkeypatch):
    folder = tmp_path / "c"
    folder.mkdir()
    members = 5_000
    with (folder / "s.tar").open("wb") as tar:
        for number in range(members):
            tar.write(tarfile.TarInfo(f"speaker/chapter/{number:08d}.wav").tobuf(tarfile.USTAR_FORMAT))
        tar.write(b"\0" * 10_240)
    at_once: list[int] = []
    really = Sources._keep

    def counted(self, found):
        rows = list(found)
        at_once.append(len(rows))
        really(self, rows)

    monkeypatch.setattr(Sources, "_keep", counted)
    with Sources(CorpusRoot(str(folder))) as sources:
        (found,) = sources.locate([row(f"s.tar!speaker/chapter/{members - 1:08d}.wav")])
    assert isinstance(found, Located)
    assert sum(at_once) == members + 1 and max(at_once) < members
