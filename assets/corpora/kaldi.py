"""Reader ``kaldi``: a data directory with ``wav.scp`` and ``text``, and maybe ``segments``, ``utt2spk``, ``utt2lang``.

Each file of the directory maps an id to a value. With ``segments``, lines ``<utterance> <recording> <start> <end>`` in
seconds, ``wav.scp`` has recordings, else utterances. An entry of ``wav.scp`` that is a command is never run.
``wav.scp`` and ``text`` alone, as WeNet and FunASR have them, are read too; the speaker is unknown then. The files need
not be sorted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from posixpath import join

from assets.corpora.keyed import KeyedLines, key_and_value
from assets.corpora.options import ReaderOptions
from assets.corpora.recordings import Recordings
from assets.corpora.root import CorpusRoot
from assets.corpora.rows import InRoot, ListOptions, RowError, rows_of_lines
from assets.corpora.segments import checked_part, seconds
from assets.corpora.utterance import Row, SourceProblem, Utterance

_ARCHIVE_OFFSET = re.compile(r".*:\d+")
_SEGMENT_CELLS = 4  # utterance, recording, start, end


class KaldiOptions(ListOptions):
    """Which data directory is read.

    Attributes:
        directory: Where ``wav.scp`` lies; its paths are relative to the root, or absolute below it.
    """

    directory: InRoot = ""

    def wanted(self) -> str:
        """The lists."""
        return f"lines of {' and '.join(self.required_files())}"

    def required_files(self) -> tuple[str, ...]:
        """``wav.scp`` and ``text``."""
        return (self.path("wav.scp"), self.path("text"))

    def path(self, name: str) -> str:
        """A file of the directory, relative to the root."""
        return join(self.directory, name)


def read_kaldi(root: CorpusRoot, options: ReaderOptions) -> Iterator[Row]:
    """Rows in the order of ``segments``, or of ``wav.scp`` without it; then texts without audio, then unnamed audio."""
    assert isinstance(options, KaldiOptions)
    recordings = Recordings(root, options.unlisted == "report")
    with ExitStack() as stack:
        lists = _Lists(root, options, recordings, stack)
        yield from lists.load()
        if root.has(options.path("segments")):
            yield from lists.segmented()
            leading = options.path("segments")
        else:
            yield from rows_of_lines(root, options.path("wav.scp"), lists.whole)
            leading = options.path("wav.scp")
        for utterance_id, source in lists.texts.left():
            detail = f"{source}: {leading} has no line for {utterance_id!r}"
            yield SourceProblem(utterance_id, source, "missing_audio", detail)
    yield from recordings.rows(f"no line of {options.path('wav.scp')}")


class _Lists:
    """The lists of a directory, of which ``text``, ``utt2spk`` and ``utt2lang`` are asked by utterance."""

    def __init__(
        self, root: CorpusRoot, options: KaldiOptions, recordings: Recordings, stack: ExitStack
    ) -> None:
        self._root = root
        self._options = options
        self._recordings = recordings
        self.texts, self._speakers, self._languages, self._paths = (
            stack.enter_context(KeyedLines()) for _ in range(4)
        )
        self._has_speakers = root.has(options.path("utt2spk"))

    def load(self) -> Iterator[SourceProblem]:
        """Keep what is asked by utterance; yields the lines that cannot be kept."""
        yield from self.texts.load(self._root, self._options.path("text"))
        for name, lines in (("utt2spk", self._speakers), ("utt2lang", self._languages)):
            if self._root.has(self._options.path(name)):
                yield from lines.load(self._root, self._options.path(name))

    def whole(self, line: str, source: str) -> Utterance:
        """The utterance of a line of ``wav.scp``."""
        utterance_id, named = key_and_value(line)
        said = self.texts.take(utterance_id)
        return self._utterance(utterance_id, source, self._audio(named, utterance_id), said, None, None)

    def segmented(self) -> Iterator[Row]:
        """The utterances of ``segments``, then recordings without any."""
        scp = self._options.path("wav.scp")
        yield from rows_of_lines(self._root, scp, self._keep_path)
        yield from rows_of_lines(self._root, self._options.path("segments"), self._segment)
        for recording, source in self._paths.left():
            detail = f"{source}: {self._options.path('segments')} has no line for the recording {recording!r}"
            yield SourceProblem(recording, source, "no_transcript", detail)

    def _keep_path(self, line: str, source: str) -> None:
        recording, named = key_and_value(line)
        self._paths.put(recording, source, self._audio(named, recording))

    def _segment(self, line: str, source: str) -> Utterance:
        cells = line.split()
        # The row names its text and its recording even where it is faulty.
        said = self.texts.take(cells[0])
        audio = self._paths.take(cells[1]) if len(cells) > 1 else None
        if len(cells) != _SEGMENT_CELLS:
            detail = (
                f"{len(cells)} columns; wanted are <utterance> <recording> <start> <end>, got {line[:80]!r}"
            )
            raise RowError("column_count", detail, float(len(cells)), float(_SEGMENT_CELLS), cells[0])
        utterance_id, recording = cells[:2]
        try:
            start_s, end_s = seconds(cells[2], "start"), seconds(cells[3], "end")
            # Kaldi writes -1 for the recording's end.
            part = checked_part(start_s, None if end_s == -1 else end_s)
            if audio is None:
                detail = f"{self._options.path('wav.scp')} has no path for the recording {recording!r}"
                raise RowError("missing_audio", detail)
        except RowError as error:
            error.belongs_to(utterance_id)
            raise
        return self._utterance(utterance_id, source, audio, said, *part)

    def _utterance(
        self,
        utterance_id: str,
        source: str,
        audio: str,
        said: str | None,
        start_s: float | None,
        end_s: float | None,
    ) -> Utterance:
        if said is None:
            detail = f"{self._options.path('text')} has no line for {utterance_id!r}"
            raise RowError("no_transcript", detail, utterance_id=utterance_id)
        speaker = self._speakers.get(utterance_id) or ("" if self._has_speakers else "unknown")
        if not speaker:
            detail = f"{self._options.path('utt2spk')} names no speaker of {utterance_id!r}"
            raise RowError("malformed_row", detail, utterance_id=utterance_id)
        language = self._languages.get(utterance_id) or None
        return Utterance(
            utterance_id,
            source,
            audio,
            said,
            speaker,
            language,
            segment_start_s=start_s,
            segment_end_s=end_s,
        )

    def _audio(self, named: str, row_id: str) -> str:
        if not named:
            raise RowError("malformed_row", "no path after the id", utterance_id=row_id)
        if named.endswith("|") or named.startswith("|"):
            detail = f"a command, which is never run: {named[:120]!r}; allowed is the path of an audio file"
            raise RowError("malformed_row", detail, utterance_id=row_id)
        if named == "-" or _ARCHIVE_OFFSET.fullmatch(named):
            detail = (
                f"{named[:120]!r} is a place in a stream or archive; allowed is the path of an audio file"
            )
            raise RowError("malformed_row", detail, utterance_id=row_id)
        audio = named.removeprefix(self._options.strip_prefix)
        self._recordings.name(audio)
        return audio
