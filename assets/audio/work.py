"""One source file's work, done in one pass by one worker: read, verify, decode, measure, resample, write."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import IO, TYPE_CHECKING, TypeAlias

from assets.audio.column_names import is_columnar, split_value
from assets.audio.despite import Forgiven, cut_recording
from assets.audio.loudness import Gain
from assets.audio.members import split_member
from assets.audio.problem import AudioFaultError, AudioProblem
from assets.audio.raw_format import RawFormat
from assets.audio.segments import Decoded, Segment
from assets.audio.settings import AudioSettings
from assets.audio.source_file import Place, opened_container, opened_source
from assets.audio.write import Stored, render, write_view, write_wav
from validation.lake_files import LakeFiles
from validation.measures import Measures, measure
from validation.reasons import Reason

if TYPE_CHECKING:
    from assets.audio.columns import ColumnFile


@dataclass(frozen=True, slots=True)
class Recording:
    """All segments wanted of one recording.

    Attributes:
        uri: Path or URL of the file, or of a tar and the member of it.
        offset: First byte of a member in its tar, row of a column; ``None``: the recording is the file.
        size: Its bytes.
        digest: SHA-256 that it had when its corpus was read.
        raw_format: Notation of what its samples are, where it has no header.
        despite: The fault with which a person accepted it.
    """

    uri: str
    offset: int | None
    size: int | None
    digest: str
    raw_format: str | None
    segments: tuple[Segment, ...]
    despite: Reason | None = None

    @property
    def place(self) -> Place:
        """Where its bytes lie."""
        file, member = split_member(self.uri)
        value = split_value(member) if self.offset is not None and member and is_columnar(file) else None
        return Place(self.file, self.offset, self.size, None if value is None else value[0])

    @property
    def file(self) -> str:
        """Path or URL of the file to open."""
        return self.uri if self.offset is None else split_member(self.uri)[0]


@dataclass(frozen=True, slots=True)
class SourceTask:
    """Recordings of one file, in the order in which they lie there: one that is no tar, or members of one."""

    lake: str
    corpus: str
    recordings: tuple[Recording, ...]
    settings: AudioSettings = field(default_factory=AudioSettings)

    @property
    def size(self) -> int:
        """Bytes to be read."""
        return sum(recording.size or 0 for recording in self.recordings)


@dataclass(frozen=True, slots=True)
class StoredAudio:
    """One segment as it was stored, what it was before, and its measures.

    Attributes:
        fault: What is wrong with its recording, if a person accepted it all the same.
        promised_s: What its recording promises of it, where that is more than there is.
    """

    stored: Stored
    view: Stored | None
    gain: Gain
    source_rate_hz: int
    source_channels: int
    channels_used: tuple[int, ...]
    source_format: str
    measures: Measures
    fault: str | None = None
    promised_s: float | None = None


SegmentResult = StoredAudio | AudioProblem
Container: TypeAlias = "IO[bytes] | ColumnFile"


def container_of(recording: Recording, stream: IO[bytes]) -> Container:
    """The open file of a recording, as what it is."""
    if recording.place.column is None:
        return stream
    from assets.audio.columns import (
        ColumnFile,
    )  # needs Arrow, which takes as long to load as a minute of speech

    return ColumnFile(stream)


def do_source(task: SourceTask) -> list[list[SegmentResult]]:
    """For each recording, results in the order of its segments; a fault of it is the result of each."""
    results: list[list[SegmentResult]] = []
    try:
        with opened_container(task.recordings[0].file) as stream:
            container = container_of(task.recordings[0], stream)
            for recording in task.recordings:
                results.append(_do_recording(task, recording, container))
    except AudioFaultError as error:
        # The file as a whole: what has been done of it stays done.
        left = task.recordings[len(results) :]
        results += [[error.problem] * len(recording.segments) for recording in left]
    return results


def _do_recording(task: SourceTask, recording: Recording, container: Container) -> list[SegmentResult]:
    raw = None if recording.raw_format is None else RawFormat.parse(recording.raw_format)
    results: dict[int, SegmentResult] = {}
    try:
        with opened_source(container, recording.place, recording.digest) as file:
            for index, found in cut_recording(
                file, recording.uri, raw, task.settings.channels, recording.segments, recording.despite
            ):
                results[index] = found if isinstance(found, AudioProblem) else store(task, found)
    except AudioFaultError as error:
        return [error.problem] * len(recording.segments)
    return [results[index] for index in range(len(recording.segments))]


def store(task: SourceTask, found: Decoded | Forgiven) -> StoredAudio:
    """Measure a waveform, and write it to the lake in each form that is wanted."""
    decoded = found if isinstance(found, Decoded) else found.decoded
    measures = measure(decoded.samples_N, decoded.rate_hz, decoded.channel_measures)
    made = render(decoded.samples_N, decoded.rate_hz, task.settings, measures)
    files = _lake(task.lake)
    return StoredAudio(
        write_wav(files, task.corpus, made.stored_N),
        None if made.view_N is None else write_view(files, task.corpus, made.view_N),
        made.gain,
        decoded.rate_hz,
        decoded.channels,
        decoded.channels_used,
        decoded.format,
        measures,
        *((None, None) if isinstance(found, Decoded) else (found.fault, found.promised_s)),
    )


@lru_cache(maxsize=1)
def _lake(root: str) -> LakeFiles:
    return LakeFiles(root)
