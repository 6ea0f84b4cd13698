"""Reader ``kaldi``: a data directory with ``wav.scp`` and ``text``, and maybe ``utt2spk`` and ``utt2lang``.

Each file of the directory maps an utterance id to a value. An entry of ``wav.scp`` that is a command is never run, and
``segments`` is refused: then ``wav.scp`` has recordings, not utterances. ``wav.scp`` and ``text`` alone, as WeNet and
FunASR have them, are read too; the speaker is unknown then. The files need not be sorted.
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
from assets.corpora.utterance import Row, SourceProblem, Utterance
from validation.errors import ConfigurationError

_ARCHIVE_OFFSET = re.compile(r".*:\d+")


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
        return (join(self.directory, "wav.scp"), join(self.directory, "text"))


def read_kaldi(root: CorpusRoot, options: ReaderOptions) -> Iterator[Row]:
    """Rows in the order of ``wav.scp``, then texts without audio, then audio that ``wav.scp`` does not name.

    Raises:
        ConfigurationError: if the directory has a file ``segments``.
    """
    assert isinstance(options, KaldiOptions)
    scp, text, speakers, languages, segments = (
        join(options.directory, name) for name in ("wav.scp", "text", "utt2spk", "utt2lang", "segments")
    )
    if root.has(segments):
        raise ConfigurationError(
            f"{root.uri(segments)}: reader kaldi takes whole files; allowed is a directory without segments"
        )
    recordings = Recordings(root, options.unlisted == "report")
    with ExitStack() as stack:
        texts, speaker_of, language_of = (stack.enter_context(KeyedLines()) for _ in range(3))
        yield from texts.load(root, text)
        for name, lines in ((speakers, speaker_of), (languages, language_of)):
            if root.has(name):
                yield from lines.load(root, name)
        has_speakers = root.has(speakers)

        def make(line: str, source: str) -> Row:
            utterance_id, named = key_and_value(line)
            said = texts.take(utterance_id)
            audio = _audio(named, utterance_id, options.strip_prefix)
            recordings.name(audio)
            if said is None:
                detail = f"{source}: {text} has no line for {utterance_id!r}"
                return SourceProblem(utterance_id, source, "no_transcript", detail)
            speaker = speaker_of.get(utterance_id) or ("" if has_speakers else "unknown")
            if not speaker:
                detail = f"{speakers} names no speaker of {utterance_id!r}"
                raise RowError("malformed_row", detail, utterance_id=utterance_id)
            language = language_of.get(utterance_id) or None
            return Utterance(utterance_id, source, audio, said, speaker, language)

        yield from rows_of_lines(root, scp, make)
        for utterance_id, source in texts.left():
            detail = f"{source}: {scp} has no line for {utterance_id!r}"
            yield SourceProblem(utterance_id, source, "missing_audio", detail)
    yield from recordings.rows(f"no line of {scp}")


def _audio(named: str, utterance_id: str, strip_prefix: str) -> str:
    if not named:
        raise RowError("malformed_row", "no path after the id", utterance_id=utterance_id)
    if named.endswith("|") or named.startswith("|"):
        detail = f"a command, which is never run: {named[:120]!r}; allowed is the path of an audio file"
        raise RowError("malformed_row", detail, utterance_id=utterance_id)
    if named == "-" or _ARCHIVE_OFFSET.fullmatch(named):
        detail = f"{named[:120]!r} is a place in a stream or archive; allowed is the path of an audio file"
        raise RowError("malformed_row", detail, utterance_id=utterance_id)
    return named.removeprefix(strip_prefix)
