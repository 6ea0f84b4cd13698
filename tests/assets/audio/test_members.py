"""Tar files: every member where Python's own library finds it, and nothing that leads elsewhere or lasts for ever."""

from __future__ import annotations

import io
import tarfile

import pytest

from assets.audio.members import TarMember, member_name, split_member, tar_members
from assets.audio.problem import AudioFaultError, AudioProblem

NAMES = ("a.wav", "./b/c.wav", "d/" + "e" * 90 + ".wav", "f/" * 60 + "g.wav", "h" * 150 + ".wav", "ü.wav")


def tar_of(*entries: tuple[tarfile.TarInfo | str, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for entry, content in entries:
            info = tarfile.TarInfo(entry) if isinstance(entry, str) else entry
            info.size = len(content) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def read(data: bytes) -> tuple[list[TarMember], AudioProblem | None]:
    found: list[TarMember] = []
    try:
        for member in tar_members(io.BytesIO(data)):
            found.append(member)
    except AudioFaultError as error:
        return found, error.problem
    return found, None


def test_a_member_is_named_in_one_way():
    assert member_name("x/s.tar", "a/b.wav") == "x/s.tar!a/b.wav"
    assert split_member("x/s.tar!a/b.wav") == ("x/s.tar", "a/b.wav")
    assert split_member("s3://b/s.TAR!q.tar!r.wav") == ("s3://b/s.TAR", "q.tar!r.wav")
    for plain in ("hello!.wav", "x.tar", "x.tar.gz!a.wav", "tar!a.wav"):
        assert split_member(plain) == (plain, None)


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_lie_where_the_standard_library_finds_them(format):
    names = [name for name in NAMES if format != tarfile.USTAR_FORMAT or len(name) < 150]
    contents = {name: bytes([n]) * (700 * n + 1) for n, name in enumerate(names)}
    data = tar_of((special("folder", tarfile.DIRTYPE), b""), *contents.items(), format=format)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        wanted = [(m.name.removeprefix("./"), m.offset_data, m.size) for m in tar.getmembers() if m.isfile()]
    found, problem = read(data)
    assert [(m.name, m.offset, m.size) for m in found] == wanted and problem is None
    for member, content in zip(found, contents.values(), strict=True):
        assert data[member.offset : member.offset + member.size] == content and member.problem is None


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (special("x.wav", tarfile.SYMTYPE, "/etc/passwd"), "a link to '/etc/passwd'"),
        (special("x.wav", tarfile.LNKTYPE, "a.wav"), "a link to 'a.wav'"),
        (special("x.wav", tarfile.CHRTYPE), "no plain file"),
        (special("x.wav", tarfile.FIFOTYPE), "no plain file"),
        (special("x.wav", tarfile.GNUTYPE_SPARSE), "no plain file"),
        ("/etc/x.wav", "leads out"),
        ("a/../../x.wav", "leads out"),
    ],
)
def test_what_leads_elsewhere_is_refused_and_the_rest_goes_on(entry, words):
    found, problem = read(tar_of((entry, b""), ("good.wav", b"12345")))
    assert problem is None and [member.problem is None for member in found] == [False, True]
    refused = found[0].problem
    assert refused is not None and refused.reason == "unsafe_member" and words in refused.detail


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_cut_tar_says_so_after_what_is_left_of_it(share):
    data = tar_of(*((f"{n}.wav", bytes(1_000)) for n in range(20)))[: 20 * 1_536]
    found, problem = read(data[: int(share * len(data))])
    assert problem is not None and problem.reason == "truncated"
    *whole, last = found
    assert len(found) == int(20 * share) + bool(20 * share % 1) and all(
        member.problem is None for member in whole
    )
    assert last.problem is None or last.problem.reason == "truncated"


def test_a_damaged_header_ends_the_reading_with_its_place():
    data = bytearray(tar_of(*((f"{n}.wav", bytes(512)) for n in range(4)), format=tarfile.USTAR_FORMAT))
    data[2_048:2_060] = b"\xff" * 12
    found, problem = read(bytes(data))
    assert [member.name for member in found] == ["0.wav", "1.wav"]
    assert problem is not None and problem.reason == "decode_error" and "byte 2048" in problem.detail


def test_what_is_no_tar_is_refused():
    assert read(b"")[1].reason == "empty_file"
    assert read(b"no tar " * 200)[1].reason == "decode_error"


def test_a_header_that_claims_much_takes_no_memory():
    info = special("x", tarfile.XHDTYPE)
    header = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = b"77777777777\0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    found, problem = read(bytes(header) + bytes(1_024))
    assert not found and problem is not None and problem.value == 8**11 - 1


def test_fields_that_contradict_themselves_are_survived():
    """The standard library reads such a member's map of holes for ever."""
    sparse = special("x.wav", tarfile.REGTYPE)
    sparse.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "x.wav"}
    found, problem = read(tar_of((sparse, b"99999999\n"), ("y.wav", b"1")))
    assert [member.name for member in found] == ["x.wav", "y.wav"] and problem is None
