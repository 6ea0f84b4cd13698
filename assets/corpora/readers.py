"""The readers by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from assets.corpora.jsonl import JsonlOptions, read_jsonl
from assets.corpora.labelled_names import LabelledNamesOptions, read_labelled_names
from assets.corpora.librispeech import LibriSpeechOptions, read_librispeech
from assets.corpora.ljspeech import LJSpeechOptions, read_ljspeech
from assets.corpora.options import ReaderOptions
from assets.corpora.root import CorpusRoot
from assets.corpora.utterance import Row

ReaderName = Literal["librispeech", "ljspeech", "labelled_names", "jsonl"]
READER_NAMES: tuple[ReaderName, ...] = get_args(ReaderName)


@dataclass(frozen=True, slots=True)
class Reader:
    """One corpus layout.

    Attributes:
        options: What the reader can be told.
        read: Yields every row of the corpus, lazily and in an order that depends on the corpus only.
    """

    options: type[ReaderOptions]
    read: Callable[[CorpusRoot, ReaderOptions], Iterator[Row]]


READERS: dict[ReaderName, Reader] = {
    "librispeech": Reader(LibriSpeechOptions, read_librispeech),
    "ljspeech": Reader(LJSpeechOptions, read_ljspeech),
    "labelled_names": Reader(LabelledNamesOptions, read_labelled_names),
    "jsonl": Reader(JsonlOptions, read_jsonl),
}
