"""What a file's bytes say that they are, whatever its name says, and whether all that they promise is there.

libsndfile forgives a WAV whose data ends early and an MP3 whose last frames are missing: it returns what there is.
Training on half a sentence with the whole text is worse than not training on it, so the promise is read from the
container itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from assets.audio.byte_view import ByteView
from assets.audio.headers import Shortfall, aiff_shortfall, au_shortfall, sphere_shortfall, wav_shortfall
from assets.audio.matroska import matroska_shortfall
from assets.audio.mp4 import mp4_shortfall
from assets.audio.mpeg import after_id3, mp3_shortfall, starts_adts, starts_mpeg
from assets.audio.ogg import ogg_shortfall

Container = Literal[
    "wav",
    "flac",
    "ogg",
    "mp3",
    "aiff",
    "au",
    "caf",
    "sphere",
    "mp4",
    "matroska",
    "asf",
    "aac",
    "amr",
    "wavpack",
    "tta",
    "ape",
    "raw",
]

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
    ".aifc": "aiff",
    ".au": "au",
    ".snd": "au",
    ".caf": "caf",
    ".sph": "sphere",
    ".m4a": "mp4",
    ".m4b": "mp4",
    ".mp4": "mp4",
    ".3gp": "mp4",
    ".webm": "matroska",
    ".mka": "matroska",
    ".wma": "asf",
    ".aac": "aac",
    ".amr": "amr",
    ".wv": "wavpack",
    ".tta": "tta",
    ".ape": "ape",
    ".raw": "raw",
    ".pcm": "raw",
}
AUDIO_SUFFIXES: frozenset[str] = frozenset(SUFFIXES)

_SHORTFALLS: dict[Container, Callable[[ByteView], Shortfall | None]] = {
    "wav": wav_shortfall,
    "aiff": aiff_shortfall,
    "au": au_shortfall,
    "sphere": sphere_shortfall,
    "ogg": ogg_shortfall,
    "mp3": mp3_shortfall,
    "mp4": mp4_shortfall,
    "matroska": matroska_shortfall,
}
_STARTS: tuple[tuple[bytes, Container], ...] = (
    (b"fLaC", "flac"),
    (b"OggS", "ogg"),
    (b".snd", "au"),
    (b"caff", "caf"),
    (b"NIST_1A", "sphere"),
    (b"\x1a\x45\xdf\xa3", "matroska"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (b"#!AMR", "amr"),
    (b"wvpk", "wavpack"),
    (b"TTA1", "tta"),
    (b"MAC ", "ape"),
)


def sniff(data: ByteView) -> Container | None:
    """The container that the first bytes belong to; ``None`` for text, HTML and anything unknown."""
    head = data[:16]
    if (named := _named(head)) is not None:
        return named
    if head.startswith(b"ID3"):
        # FLAC and others may carry a leading ID3 tag too.
        start = after_id3(data)
        return "flac" if data[start : start + 4] == b"fLaC" else "mp3"
    if starts_mpeg(head):
        return "mp3"
    return "aac" if starts_adts(head) else None


def _named(head: bytes) -> Container | None:
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if head[4:8] == b"ftyp":
        return "mp4"
    return next((container for magic, container in _STARTS if head.startswith(magic)), None)


def named_container(data: ByteView) -> Container | None:
    """Like :func:`sniff`, but by signature only: samples without a header may look like the frames of an MP3."""
    return _named(data[:16])


def shortfall(data: ByteView, container: Container) -> Shortfall | None:
    """``(found, promised, unit)`` where the container promises more than there is, else ``None``.

    Sizes and counts of headers, and the mark on the last page of an Ogg stream. FLAC and the other containers carry
    checks of their own that fail when decoding.
    """
    promise = _SHORTFALLS.get(container)
    return promise(data) if promise is not None else None
