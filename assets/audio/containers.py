"""What a file's bytes say that they are, whatever its name says, and whether all that they promise is there.

libsndfile forgives a WAV whose data ends early and an MP3 whose last frames are missing: it returns what there is.
Training on half a sentence with the whole text is worse than not training on it, so the promise is read from the
container itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from assets.audio.headers import Shortfall, aiff_shortfall, au_shortfall, sphere_shortfall, wav_shortfall
from assets.audio.mpeg import after_id3, mp3_shortfall, starts_mpeg
from assets.audio.ogg import ogg_shortfall

Container = Literal["wav", "flac", "ogg", "mp3", "aiff", "au", "caf", "sphere", "mp4", "matroska"]

SUFFIXES: dict[str, Container] = {
    ".wav": "wav",
    ".wave": "wav",
    ".flac": "flac",
    ".ogg": "ogg",
    ".oga": "ogg",
    ".opus": "ogg",
    ".mp3": "mp3",
    ".aiff": "aiff",
    ".aif": "aiff",
    ".au": "au",
    ".snd": "au",
    ".caf": "caf",
    ".sph": "sphere",
    ".m4a": "mp4",
    ".mp4": "mp4",
    ".webm": "matroska",
    ".mka": "matroska",
}
AUDIO_SUFFIXES: frozenset[str] = frozenset(SUFFIXES)

_SHORTFALLS: dict[Container, Callable[[bytes], Shortfall | None]] = {
    "wav": wav_shortfall,
    "aiff": aiff_shortfall,
    "au": au_shortfall,
    "sphere": sphere_shortfall,
    "ogg": ogg_shortfall,
    "mp3": mp3_shortfall,
}


def sniff(data: bytes) -> Container | None:
    """The container that the first bytes belong to; ``None`` for text, HTML and anything unknown."""
    head = data[:16]
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if head[4:8] == b"ftyp":
        return "mp4"
    starts: tuple[tuple[bytes, Container], ...] = (
        (b"fLaC", "flac"),
        (b"OggS", "ogg"),
        (b".snd", "au"),
        (b"caff", "caf"),
        (b"NIST_1A", "sphere"),
        (b"\x1a\x45\xdf\xa3", "matroska"),
    )
    for magic, container in starts:
        if head.startswith(magic):
            return container
    if head.startswith(b"ID3"):
        # FLAC and others may carry a leading ID3 tag too.
        inner = data[after_id3(data) :][:4]
        return "flac" if inner == b"fLaC" else "mp3"
    return "mp3" if starts_mpeg(data) else None


def shortfall(data: bytes, container: Container) -> Shortfall | None:
    """``(found, promised, unit)`` where the container promises more than there is, else ``None``.

    Sizes and counts of headers, and the mark on the last page of an Ogg stream. FLAC and the other containers carry
    checks of their own that fail when decoding.
    """
    promise = _SHORTFALLS.get(container)
    return promise(data) if promise is not None else None
