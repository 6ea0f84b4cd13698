"""One source file's work where its recordings are cut: as in :mod:`assets.audio.work`, the pieces found on the way."""

from __future__ import annotations

from dataclasses import dataclass

from assets.audio.decode import open_source
from assets.audio.problem import AudioFaultError, AudioProblem
from assets.audio.raw_format import RawFormat
from assets.audio.segments import AudioSource, Segment
from assets.audio.settings import Segmentation
from assets.audio.source_file import opened_container, opened_source
from assets.audio.work import (
    Container,
    Recording,
    SegmentResult,
    SourceTask,
    StoredAudio,
    container_of,
    store,
)


@dataclass(frozen=True, slots=True)
class StoredPiece:
    """A piece as it was stored, or what is wrong with it."""

    segment: Segment
    in_speech: bool
    result: SegmentResult


@dataclass(frozen=True, slots=True)
class Cut:
    """What became of a recording.

    Attributes:
        pieces: By channel, and in the order of time.
        duration_s: Up to where it decodes; ``lanes`` are the channels that were listened to, each for itself.
        speech_s: Of all lanes together; ``None`` where nobody listened.
        problem: Why it is not cut, or not to its end.
    """

    pieces: tuple[StoredPiece, ...] = ()
    duration_s: float | None = None
    channels: int | None = None
    lanes: int | None = None
    speech_s: float | None = None
    problem: AudioProblem | None = None


def do_cut(segmentation: Segmentation | None, task: SourceTask) -> list[Cut]:
    """The pieces of each recording, each decoded once.

    Args:
        segmentation: ``None``: recordings are split by their channels only.
    """
    results: list[Cut] = []
    try:
        with opened_container(task.recordings[0].file) as stream:
            container = container_of(task.recordings[0], stream)
            for recording in task.recordings:
                results.append(_cut_recording(task, recording, segmentation, container))
    except AudioFaultError as error:
        left = len(task.recordings) - len(results)
        results += [Cut(problem=error.problem)] * left
    return results


def _cut_recording(
    task: SourceTask, recording: Recording, segmentation: Segmentation | None, container: Container
) -> Cut:
    raw = None if recording.raw_format is None else RawFormat.parse(recording.raw_format)
    try:
        with (
            opened_source(container, recording.place, recording.digest) as file,
            open_source(file, recording.uri, raw, task.settings.channels) as source,
        ):
            if segmentation is None:
                return _split_by_channels(task, source)
            return _cut_at_pauses(task, source, segmentation)
    except AudioFaultError as error:
        return Cut(problem=error.problem)


def _cut_at_pauses(task: SourceTask, source: AudioSource, segmentation: Segmentation) -> Cut:
    # Only here: the model's package is optional.
    from assets.audio.segmentation import Heard, cut_at_pauses

    heard = Heard()
    pieces = []
    for piece in cut_at_pauses(source, segmentation, task.settings.channels, heard):
        found = piece.found if isinstance(piece.found, AudioProblem) else store(task, piece.found)
        pieces.append(StoredPiece(piece.segment, piece.in_speech, found))
    pieces.sort(key=lambda piece: (piece.segment.channel or 0, piece.segment.start_s))
    return Cut(tuple(pieces), heard.duration_s, heard.channels, heard.lanes, heard.speech_s, heard.problem)


def _split_by_channels(task: SourceTask, source: AudioSource) -> Cut:
    """A piece for each channel; a recording of one channel stays as it is."""
    count = source.channels
    wanted = [Segment(channel=number + 1) for number in range(count)] if count > 1 else [Segment()]
    pieces = []
    for index, found in source.cut(wanted):
        result = found if isinstance(found, AudioProblem) else store(task, found)
        pieces.append(StoredPiece(wanted[index], False, result))
    results = [piece.result for piece in pieces]
    stored = [result for result in results if isinstance(result, StoredAudio)]
    if not stored:
        assert isinstance(results[0], AudioProblem)
        return Cut(channels=count, problem=results[0])
    return Cut(tuple(pieces), stored[0].measures.duration_s, count, count)
