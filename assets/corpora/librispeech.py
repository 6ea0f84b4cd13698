"""Reader ``librispeech``: ``<subset>/<speaker>/<chapter>/<id>.flac`` with one ``*.trans.txt`` per chapter.

A line of a transcript file is ``<id> <TEXT>``. Empty lines are no rows. Every audio file that no line names is a row
without a transcript; one that differs from another in its extension only repeats its id.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from assets.corpora.options import ReaderOptions
from assets.corpora.recordings import audio_by_stem, left_over
from assets.corpora.root import CorpusRoot
from assets.corpora.utterance import Row, SourceProblem, Utterance

_TRANSCRIPT = ".trans.txt"
_SUFFIX = ".flac"
_LAYOUT_DEPTH = 4  # subset, speaker, chapter, file


class LibriSpeechOptions(ReaderOptions):
    """None: the layout says everything."""

    def wanted(self) -> str:
        """The layout."""
        return f"<subset>/<speaker>/<chapter>/*{_TRANSCRIPT} and the audio beside it"

    def field_names(self) -> frozenset[str]:
        """``subset`` such as ``test-other``, and ``chapter``."""
        return frozenset({"subset", "chapter"})


def read_librispeech(root: CorpusRoot, options: ReaderOptions) -> Iterator[Row]:
    """Transcribed utterances in the order of the transcript files, then audio without a transcript."""
    audio = audio_by_stem(root, "", _SUFFIX)
    named: set[str] = set()
    for transcript in (name for name in root.files if name.endswith(_TRANSCRIPT)):
        fault = root.text_fault(transcript)
        if fault is not None:
            yield fault
            continue
        folder = transcript.rpartition("/")[0]
        for number, line in root.lines(transcript):
            if not line.strip():
                continue
            source = f"{transcript}:{number}"
            try:
                utterance_id, _, text = line.decode("utf-8").strip().partition(" ")
            except UnicodeDecodeError as error:
                yield SourceProblem(source, source, "not_utf8", f"{source}: not UTF-8: {error}")
                continue
            stem = f"{folder}/{utterance_id}" if folder else utterance_id
            named.add(stem)
            # Where there is no audio, the layout's own name is reported as missing.
            yield _utterance(utterance_id, source, audio.get(stem, [f"{stem}{_SUFFIX}"])[0], text.strip())
    texts = f"no line of a {_TRANSCRIPT} file in its folder"
    yield from left_over(audio, named, lambda stem: PurePosixPath(stem).name, texts)


def _utterance(utterance_id: str, source: str, audio: str, text: str) -> Utterance:
    parts = audio.split("/")
    subset = parts[-_LAYOUT_DEPTH] if len(parts) >= _LAYOUT_DEPTH else ""
    speaker, _, rest = utterance_id.partition("-")
    fields = {"subset": subset, "chapter": rest.partition("-")[0]}
    return Utterance(utterance_id, source, audio, text, speaker, fields=fields)
