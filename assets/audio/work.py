"""One source file's work, done in one pass by one worker: read, verify, decode, measure, resample, write."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import fsspec
import numpy as np

from assets.audio.decode import AudioSource, Decoded, Segment, open_source
from assets.audio.problem import AudioFaultError, AudioProblem
from assets.audio.write import Stored, to_stored_form, write_wav
from validation.digests import digest_bytes
from validation.lake_files import LakeFiles
from validation.measures import Measures, measure


@dataclass(frozen=True, slots=True)
class SourceTask:
    """All segments wanted of one source file.

    Attributes:
        uri: Path or URL of the file.
        digest: SHA-256 that the file had when its corpus was read.
    """

    lake: str
    corpus: str
    uri: str
    digest: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class StoredAudio:
    """One segment as it was stored, what it was before, and its measures."""

    stored: Stored
    source_rate_hz: int
    source_channels: int
    source_format: str
    measures: Measures


SegmentResult = StoredAudio | AudioProblem


def do_source(task: SourceTask) -> list[SegmentResult]:
    """Results in the order of ``task.segments``; a fault of the file is every segment's result."""
    try:
        data = _read(task)
        with open_source(data, task.uri) as source:
            return [_do_segment(task, source, segment) for segment in task.segments]
    except AudioFaultError as fault:
        return [fault.problem] * len(task.segments)


def _read(task: SourceTask) -> bytes:
    try:
        data = _bytes_of(task.uri)
    except FileNotFoundError as error:
        raise AudioFaultError(AudioProblem("missing_audio", "is gone since the corpus was read")) from error
    except OSError as error:
        raise AudioFaultError(AudioProblem("unreadable", f"cannot be read: {error}")) from error
    if digest_bytes(data) != task.digest:
        problem = AudioProblem(
            "source_changed", "changed since the corpus was read: its SHA-256 is another one"
        )
        raise AudioFaultError(problem)
    return data


def _bytes_of(uri: str) -> bytes:
    if "://" not in uri:
        return Path(uri).read_bytes()
    with fsspec.open(uri, "rb") as stream:
        data: bytes = stream.read()
    return data


def _do_segment(task: SourceTask, source: AudioSource, segment: Segment) -> SegmentResult:
    try:
        decoded = source.segment(segment)
    except AudioFaultError as fault:
        return fault.problem
    measures = measure(decoded.samples_N, decoded.rate_hz)
    stored = write_wav(_lake(task.lake), task.corpus, _pcm(decoded))
    return StoredAudio(stored, decoded.rate_hz, decoded.channels, decoded.format, measures)


def _pcm(decoded: Decoded) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return to_stored_form(decoded.samples_N, decoded.rate_hz)


@lru_cache(maxsize=1)
def _lake(root: str) -> LakeFiles:
    return LakeFiles(root)
