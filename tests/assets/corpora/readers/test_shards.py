"""Tar shards: members paired by name in any order, each without the other told, nothing unpacked."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
import soundfile as sf

from assets.corpora.ingest import ingest
from validation.ledger import balance, read_ledger

REAL = "test/resources/dataset"


def tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def emilia(name: str, **more: object) -> bytes:
    value = {"id": name, "wav": "x.mp3", "text": " Said.", "speaker": "S", "language": "de", "dnsmos": 3.1}
    return json.dumps(value | more).encode()


def test_a_real_wenet_shard_is_stored_whole(lake, make):
    options = {"file": f"{REAL}/data.shards.list", "data_type": "shard", "unlisted": "ignore"}
    entry = make.entry("wenet_list", make.shared("wenet_datalist"), options=options)
    make.run_all(entry, lake)
    rows = {row["utterance_id"]: row for row in lake.read_table("raw_utterances", "made").to_dicts()}
    chinese = rows[f"{REAL}/aishell-BAC009S0724W0121"]
    assert chinese["text"] == "广州市房地产中介协会分析"
    assert chinese["audio_uri"].endswith(
        f"/{REAL}/shards/shards_000000000.tar!{REAL}/aishell-BAC009S0724W0121.wav"
    )
    # The list does not state its rows' languages, and one is not the corpus' own: the text tells.
    assert read_ledger(lake, "made")["reason"].to_list() == ["wrong_script", "accepted"]
    durations = lake.read_table("audio_22k", "made")["duration_s"].to_list()
    files = [make.shared("wenet_datalist") / REAL / f"{name.rpartition('/')[2]}.wav" for name in rows]
    assert durations == pytest.approx([sf.info(file).duration for file in files], abs=1e-3)


def test_files_beside_a_list_of_shards_are_told(make, read):
    found = read(
        "wenet_list", make.shared("wenet_datalist"), file=f"{REAL}/data.shards.list", data_type="shard"
    )
    assert set(found.reasons.values()) == {"no_transcript"}
    assert len(found.reasons) == 2


def test_emilia_tars_are_paired_in_any_order(lay, read):
    root = lay({})
    members = [
        ("b.mp3", b"B"),
        ("a.json", emilia("a")),
        ("c.json", emilia("c")),
        ("b.json", emilia("b", text="Zwei.")),
        ("a.mp3", b"A"),
        ("d.mp3", b"D"),
        ("e.json", b"{"),
        ("e.mp3", b"E"),
        ("f.json", b"\xff"),
        ("f.mp3", b"F"),
        ("a.flac", b"again"),
        ("notes.md", b"none"),
    ]
    tar(root / "DE" / "DE-B000000.tar", members)
    tar(root / "DE" / "DE-B000001.tar", [("g.json", emilia("g")), ("g.mp3", b"G")])
    found = read("emilia", root)
    shard = "DE/DE-B000000.tar"
    assert found.texts == {"a": "Said.", "b": "Zwei.", "g": "Said."}
    assert found.said["b"].audio == f"{shard}!b.mp3"
    assert found.said["b"].source == f"{shard}!b.json"
    again = next(source for source in found.reasons if source.startswith(f"{shard}!a.flac at byte "))
    assert found.reasons == {
        again: "duplicate_id",
        f"{shard}!c.json": "missing_audio",
        f"{shard}!d.mp3": "no_transcript",
        f"{shard}!e.json": "malformed_row",
        f"{shard}!f.json": "not_utf8",
    }


def test_emilia_tars_go_through_all_steps(tmp_path, lake, make):
    speech = make.speech(tmp_path / "x.flac").read_bytes()
    other = make.speech(tmp_path / "y.flac", seed=1).read_bytes()
    members = [("a.json", emilia("a")), ("a.flac", speech), ("b.json", emilia("b")), ("b.flac", other)]
    tar(tmp_path / "c" / "DE-B000000.tar", members)
    make.run_all(make.entry("emilia", tmp_path / "c"), lake)
    assert dict(read_ledger(lake, "made").select("utterance_id", "reason").iter_rows()) == {
        "a": "accepted",
        "b": "accepted",
    }
    assert balance(lake, "made").holds


def test_a_tar_that_is_cut_gives_what_it_has_and_says_so(lay, read):
    root = lay({})
    whole = tar(root / "a.tar", [("a.json", emilia("a")), ("a.mp3", b"A" * 600), ("b.json", emilia("b"))])
    whole.write_bytes(whole.read_bytes()[: 512 * 5])
    (root / "b.tar").write_bytes(b"no tar at all" * 100)
    (root / "c.tar").write_bytes(b"")
    (root / "d.tar.gz").write_bytes(b"")
    found = read("emilia", root)
    assert list(found.said) == ["a"]
    assert found.reasons == {
        "a.tar": "truncated",
        "b.tar": "decode_error",
        "c.tar": "empty_file",
        "d.tar.gz": "malformed_row",
    }


def test_hostile_members_lead_nowhere(tmp_path, lake, make):
    (tmp_path / "secret.wav").write_bytes(b"secret")
    shard = tmp_path / "c" / "a.tar"
    shard.parent.mkdir()
    with tarfile.open(shard, "w") as archive:
        for name in ("../secret.json", "link.json", "/abs.json"):
            info = tarfile.TarInfo(name)
            info.size = len(emilia(name))
            archive.addfile(info, io.BytesIO(emilia(name)))
        for name, kind in (("link.wav", tarfile.SYMTYPE), ("hard.wav", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "../secret.wav"
            archive.addfile(info)
        for name in ("../secret.wav", "/abs.wav"):
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
    ingest(make.entry("emilia", tmp_path / "c"), lake)
    reasons = dict(read_ledger(lake, "made").select("source", "reason").iter_rows())
    assert lake.read_table("raw_utterances", "made").is_empty()
    assert set(reasons.values()) == {"unsafe_member", "no_transcript"}
    assert len(reasons) == 4
    assert not (tmp_path / "c" / "secret.wav").exists()


def test_lists_of_shards_name_faulty_lines(lay, read):
    root = lay({"shards.list": "old/a.tar\nold/a.tar\nold/gone.tar\n../out.tar\n\n\xff\n".encode("latin-1")})
    tar(root / "a.tar", [("k.txt", b" some \n words "), ("k.wav", b"x")])
    tar(root / "z.tar", [])
    found = read("wenet_list", root, file="shards.list", data_type="shard", strip_prefix="old/")
    assert found.texts == {"k": "some words"}
    assert found.reasons == {
        "shards.list:2": "duplicate_id",
        "shards.list:3": "missing_file",
        "shards.list:4": "outside_root",
        "shards.list:6": "not_utf8",
        "z.tar": "no_transcript",
    }


def test_members_that_share_a_name_that_is_not_utf8_are_rows_of_their_own(tmp_path, read):
    root = tmp_path / "c"
    root.mkdir()
    with tarfile.open(root / "s.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for content in (b"1", b"2"):
            info = tarfile.TarInfo("\udcff.wav")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    (root / "data.list").write_text("s.tar\n")
    found = read("wenet_list", root, data_type="shard")
    assert sorted(found.reasons.values()) == ["not_utf8", "not_utf8"]
