"""Reader ``aishell3``: ``<split>/content.txt`` (or ``label_train-set.txt``) and ``<split>/wav/<speaker>/<id>.wav``.

A line of ``content.txt`` is ``<file><tab><character> <pinyin> <character> <pinyin> …``, one of
``label_train-set.txt`` is ``<id>|<pinyin>|<text>`` with ``%`` and ``$`` where phrases end. The characters are the
text. Lines that begin with ``#`` are no rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from posixpath import basename, dirname, join
from typing import Literal

from assets.corpora.options import ReaderOptions
from assets.corpora.recordings import Recordings
from assets.corpora.root import CorpusRoot
from assets.corpora.rows import RowError, cells_of, rows_of_lines
from assets.corpora.utterance import Row, Utterance

_ID = re.compile(r"(?P<speaker>SSB\d{4})\d{4}")
_ID_END = re.compile(r"[|\s]")
_HANZI = re.compile(r"[\u3400-\u9fff]")
_PHRASE_END = re.compile(r"[%$]")
_LISTS = {"content": "content.txt", "label": "label_train-set.txt"}


class Aishell3Options(ReaderOptions):
    """Which list is read.

    Attributes:
        text: ``content`` (both splits) or ``label`` (the training split only).
    """

    text: Literal["content", "label"] = "content"

    def wanted(self) -> str:
        """The lists."""
        return f"<split>/{_LISTS[self.text]} and <split>/wav"

    def field_names(self) -> frozenset[str]:
        """``subset``: ``train`` or ``test``."""
        return frozenset({"subset"})


def read_aishell3(root: CorpusRoot, options: ReaderOptions) -> Iterator[Row]:
    """Rows in the order of the lists, then audio that none of them names."""
    assert isinstance(options, Aishell3Options)
    recordings = Recordings(root)
    read = _content if options.text == "content" else _label
    wanted = _LISTS[options.text]
    for name in (name for name in root.files if basename(name) == wanted):
        folder = dirname(name)

        def make(line: str, source: str, folder: str = folder) -> Utterance:
            utterance_id, speaker = _who(line)
            audio = join(folder, "wav", speaker, f"{utterance_id}.wav")
            recordings.name(audio)
            fields = {"subset": basename(folder)}
            return Utterance(utterance_id, source, audio, read(line), speaker, fields=fields)

        yield from rows_of_lines(root, name, make, comment="#")
    yield from recordings.rows(f"no line of a {wanted}")


def _who(line: str) -> tuple[str, str]:
    utterance_id = _ID_END.split(line, maxsplit=1)[0].removesuffix(".wav")
    match = _ID.fullmatch(utterance_id)
    if match is None:
        raise RowError("unmatched_name", f"id {utterance_id!r:.80} has another form than SSB00050001")
    return utterance_id, match["speaker"]


def _content(line: str) -> str:
    file, interleaved = cells_of(line, "\t", ("file", "characters and pinyin"))
    parts = interleaved.split()
    if len(parts) % 2 or any(_HANZI.search(pinyin) for pinyin in parts[1::2]):
        detail = f"characters and pinyin do not take turns in {interleaved[:80]!r}"
        raise RowError("malformed_row", detail, utterance_id=file.removesuffix(".wav"))
    return "".join(parts[::2])


def _label(line: str) -> str:
    return _PHRASE_END.sub("", cells_of(line, "|", ("id", "pinyin", "text"))[2])
