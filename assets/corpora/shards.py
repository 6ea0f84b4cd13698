"""Recordings in tar files beside their texts: members of one name without the extension belong together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from posixpath import splitext
from typing import IO

from assets.audio.members import TarMember, member_name, tar_members
from assets.audio.problem import AudioFaultError
from assets.corpora.keyed import KeyedLines
from assets.corpora.recordings import is_audio
from assets.corpora.root import CorpusRoot
from assets.corpora.rows import MOST_TEXT_BYTES, RowError, decoded
from assets.corpora.sources import is_text
from assets.corpora.utterance import SourceProblem

COMPRESSED = (".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True, slots=True)
class ShardPair:
    """A recording of a tar with its text.

    Attributes:
        key: The name that both have without their extensions.
        audio: The recording, as rows name it.
        source: The text, in the same notation.
        text: What the member holds, or why that is not known.
    """

    key: str
    audio: str
    source: str
    text: str | RowError


def pairs_of_shard(root: CorpusRoot, shard: str, suffix: str) -> Iterator[ShardPair | SourceProblem]:
    """Every recording of a tar with its text ``<key><suffix>``, in the order of the keys, and each without the other.

    The members may lie in any order. What is neither a recording nor such a text is no row.
    """
    fault = root.text_fault(shard)
    if fault is not None:
        yield fault
        return
    if shard.lower().endswith(COMPRESSED):
        detail = f"{shard}: a compressed tar, whose members cannot be read one by one; decompress it to .tar"
        yield SourceProblem(shard, shard, "malformed_row", detail)
        return
    try:
        with root.open(shard) as stream, ExitStack() as stack:
            audios, texts = (stack.enter_context(KeyedLines()) for _ in range(2))
            yield from _sorted_out(shard, stream, suffix, audios, texts)
            yield from _joined(shard, stream, suffix, audios, texts)
    except OSError as error:
        yield SourceProblem(shard, shard, "unreadable", f"{shard}: cannot be read to its end: {error}")


def _sorted_out(
    shard: str, stream: IO[bytes], suffix: str, audios: KeyedLines, texts: KeyedLines
) -> Iterator[SourceProblem]:
    """Keep where the members lie; yields what cannot be kept."""
    try:
        for member in tar_members(stream):
            if not is_text(member.name):
                place = f"{shard} at byte {member.offset}"  # the name may stand there any number of times
                detail = f"{place}: the name of the member {member.name!r:.200} is not UTF-8"
                yield SourceProblem(f"{shard}!{member.name}", place, "not_utf8", detail)
                continue
            source = member_name(shard, member.name)
            key, ending = splitext(member.name)
            try:
                if is_audio(member.name):
                    audios.put(key, source, member.name)
                elif ending == suffix:
                    texts.put(key, source, _place(member))
            except RowError as error:
                # The tar may hold the name any number of times, each of which is a row.
                yield error.at(f"{source} at byte {member.offset}")
    except AudioFaultError as error:
        problem = error.problem
        detail = f"{shard}: {problem.detail}"
        yield SourceProblem(shard, shard, problem.reason, detail, problem.value, problem.limit)


def _joined(
    shard: str, stream: IO[bytes], suffix: str, audios: KeyedLines, texts: KeyedLines
) -> Iterator[ShardPair | SourceProblem]:
    for key, audio in audios.left():
        place = texts.take(key)
        if place is None:
            detail = f"{audio}: there is no member {key}{suffix}"
            yield SourceProblem(key, audio, "no_transcript", detail)
        else:
            yield ShardPair(key, audio, member_name(shard, key + suffix), _read(stream, place))
    for key, source in texts.left():
        yield SourceProblem(key, source, "missing_audio", f"{source}: there is no member {key}.* with audio")


def _place(member: TarMember) -> str:
    problem = member.problem
    return f"{member.offset} {member.size}" if problem is None else f"{problem.reason} {problem.detail}"


def _read(stream: IO[bytes], place: str) -> str | RowError:
    first, _, rest = place.partition(" ")
    if not first.isdigit():
        return RowError("unsafe_member" if first == "unsafe_member" else "truncated", f"the text {rest}")
    if int(rest) > MOST_TEXT_BYTES:
        detail = f"the text has {rest} bytes; at most {MOST_TEXT_BYTES} are read as a transcript"
        return RowError("malformed_row", detail, float(rest), float(MOST_TEXT_BYTES))
    stream.seek(int(first))
    try:
        return decoded(stream.read(int(rest)))
    except RowError as error:
        return error
