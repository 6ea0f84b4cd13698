"""Recordings inside other files: how a corpus names one (``shard.tar!member/name.wav``), and where each lies in a tar.

Nothing is unpacked: a member is a range of the tar's bytes. Members are read from uncompressed tars only; in a
compressed one, nothing can be found without decompressing all before it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from assets.audio.problem import AudioProblem, fault

_MEMBER = re.compile(r"(.*?\.(?:tar|parquet|arrow))!(.+)", re.IGNORECASE | re.DOTALL)
_BLOCK_BYTES = 512
_LARGEST_EXTENSION_BYTES = 1 << 20  # the name or the fields of one member: real ones have hundreds of bytes
_EXTENDED = (b"L", b"K", b"x", b"g")
_WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")


def member_name(tar: str, member: str) -> str:
    """The one notation for a member of a tar, and for a recording in a column (:mod:`assets.audio.columns`)."""
    return f"{tar}!{member}"


def split_member(named: str) -> tuple[str, str | None]:
    """The file, and the member of it, if the name is one of a member."""
    match = _MEMBER.fullmatch(named)
    return (match[1], match[2]) if match is not None else (named, None)


@dataclass(frozen=True, slots=True)
class TarMember:
    """One entry of a tar.

    Attributes:
        name: As the tar has it, without a leading ``./``.
        offset: Its first byte in the tar.
        size: Its bytes.
        problem: Why it is not read (a link, a device, a path that leads elsewhere, an end that is missing).
    """

    name: str
    offset: int
    size: int
    problem: AudioProblem | None = None


def tar_members(stream: IO[bytes]) -> Iterator[TarMember]:
    """The files of an open, seekable tar in their order; what else has a name there comes with its problem.

    Only headers are read (ustar, GNU and pax: POSIX.1-2017, pax). Whoever wants a member's bytes seeks to them, between
    two members if he likes. Python's ``tarfile`` is no choice here: headers of a hostile tar keep it reading for ever.

    Raises:
        AudioFaultError: ``truncated`` or ``decode_error``, after all members that could be found, where the tar does
            not end as a tar does: members may be missing.
        OSError: if it cannot be read.
    """
    total = stream.seek(0, io.SEEK_END)
    if not total:
        raise fault("empty_file", "has 0 bytes", 0.0, 1.0)
    position = 0
    long_name: str | None = None
    long_size: int | None = None
    # A size may lead further than any file system can seek.
    while any(block := _read(stream, min(position, total), _BLOCK_BYTES)) and len(block) == _BLOCK_BYTES:
        header = _Header.of(block, position)
        size = header.size if long_size is None else long_size
        start = position + _BLOCK_BYTES
        has_data = header.kind not in _WITHOUT_DATA
        position = start + (_blocks(size) if has_data else 0)
        if header.kind in _EXTENDED:
            content = _read(stream, start, _checked(header.size, start))
            if header.kind == b"L":
                long_name = _text(content)
            elif header.kind == b"x":
                fields = _pax_fields(content)
                long_name = fields.get("path", long_name)
                stated = fields.get("size", "")
                long_size = int(stated) if _is_count(stated) else None
            continue
        name = (header.name if long_name is None else long_name).removeprefix("./")
        long_name = long_size = None
        if header.kind == b"5" or name.endswith("/"):
            continue
        yield TarMember(name, start, size, _problem(header, name, size, max(total - start, 0)))
    if len(block) < _BLOCK_BYTES:
        detail = (
            f"ends at byte {total} without the empty blocks that close a tar file: members may be missing"
        )
        raise fault("truncated", detail, float(total), float(position + 2 * _BLOCK_BYTES))


@dataclass(frozen=True, slots=True)
class _Header:
    """What one header block says."""

    name: str
    size: int
    kind: bytes
    link: str

    @classmethod
    def of(cls, block: bytes, position: int) -> _Header:
        """The header, if the block is one: its sum says so."""
        stated = _number(block[148:156])
        if stated != sum(block) - sum(block[148:156]) + 8 * ord(" "):
            raise fault("decode_error", f"has no header of a member at byte {position}, where one should be")
        size = _number(block[124:136])
        if size is None:
            raise fault("decode_error", f"has a header at byte {position} that states no size")
        name, prefix = _text(block[:100]), _text(block[345:500])
        # GNU tar has times where POSIX has the beginning of a long name.
        is_posix = block[257:263] == b"ustar\0"
        return cls(
            f"{prefix}/{name}" if is_posix and prefix else name, size, block[156:157], _text(block[157:257])
        )


def _problem(header: _Header, name: str, size: int, left: int) -> AudioProblem | None:
    if header.kind in (b"1", b"2"):
        detail = f"is a link to {header.link!r}; links in tar files are not followed"
        return AudioProblem("unsafe_member", detail)
    if header.kind not in (b"0", b"\0", b"7"):
        return AudioProblem("unsafe_member", f"is no plain file but of the kind {header.kind!r}")
    if name.startswith("/") or ".." in name.split("/") or "\0" in name:
        return AudioProblem("unsafe_member", "has a name that leads out of the tar file; it is not read")
    if size > left:
        detail = f"promises {size} bytes and the tar file has {left} of them"
        return AudioProblem("truncated", detail, float(left), float(size))
    return None


def _read(stream: IO[bytes], position: int, size: int) -> bytes:
    stream.seek(position)
    return stream.read(size)


def _checked(size: int, position: int) -> int:
    if size > _LARGEST_EXTENSION_BYTES:
        detail = f"has an extended header of {size} bytes at byte {position}; allowed are {_LARGEST_EXTENSION_BYTES}"
        raise fault("decode_error", detail, float(size), float(_LARGEST_EXTENSION_BYTES))
    return size


def _blocks(size: int) -> int:
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES


def _text(field: bytes) -> str:
    # What is no UTF-8 stays as lone surrogates, which the step that reads the corpus reports.
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _number(field: bytes) -> int | None:
    """An octal number, or GNU's binary one for what does not fit."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.split(b"\0", 1)[0].strip() or b"0"
    return int(digits, 8) if all(digit in b"01234567" for digit in digits) else None


def _pax_fields(content: bytes) -> dict[str, str]:
    fields = {}
    while content:
        length, _, _ = content.partition(b" ")
        if not _is_count(length.decode("latin-1")) or not len(length) < int(length) <= len(content):
            break
        key, _, value = content[len(length) + 1 : int(length) - 1].partition(b"=")
        fields[_text(key)] = value.decode("utf-8", "surrogateescape")
        content = content[int(length) :]
    return fields


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20
