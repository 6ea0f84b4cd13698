"""The readers by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from assets.corpora.aishell1 import Aishell1Options, read_aishell1
from assets.corpora.aishell3 import Aishell3Options, read_aishell3
from assets.corpora.common_voice import CommonVoiceOptions, read_common_voice
from assets.corpora.emilia import EmiliaOptions, read_emilia
from assets.corpora.gigaspeech import GigaSpeechOptions, read_gigaspeech
from assets.corpora.huggingface import HuggingFaceOptions, read_huggingface
from assets.corpora.instructions import InstructionsOptions, read_instructions
from assets.corpora.jsonl import JsonlOptions, read_jsonl
from assets.corpora.kaldi import KaldiOptions, read_kaldi
from assets.corpora.labelled_names import LabelledNamesOptions, read_labelled_names
from assets.corpora.librispeech import LibriSpeechOptions, read_librispeech
from assets.corpora.libritts import LibriTTSOptions, read_libritts
from assets.corpora.ljspeech import LJSpeechOptions, read_ljspeech
from assets.corpora.mls import MlsOptions, read_mls
from assets.corpora.options import ReaderOptions
from assets.corpora.root import CorpusRoot
from assets.corpora.sidecar import SidecarOptions, read_sidecar
from assets.corpora.sphinx import SphinxOptions, read_sphinx
from assets.corpora.table import TableOptions, read_table
from assets.corpora.untranscribed import UntranscribedOptions, read_untranscribed
from assets.corpora.utterance import Row
from assets.corpora.wenet_list import WenetListOptions, read_wenet_list
from assets.corpora.wenetspeech import WenetSpeechOptions, read_wenetspeech
from assets.corpora.wenetspeech4tts import WenetSpeech4TTSOptions, read_wenetspeech4tts

ReaderName = Literal[
    "librispeech",
    "ljspeech",
    "labelled_names",
    "jsonl",
    "libritts",
    "mls",
    "common_voice",
    "aishell1",
    "aishell3",
    "wenetspeech",
    "wenetspeech4tts",
    "gigaspeech",
    "emilia",
    "wenet_list",
    "kaldi",
    "sidecar",
    "sphinx",
    "table",
    "huggingface",
    "instructions",
    "untranscribed",
]
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
    "libritts": Reader(LibriTTSOptions, read_libritts),
    "mls": Reader(MlsOptions, read_mls),
    "common_voice": Reader(CommonVoiceOptions, read_common_voice),
    "aishell1": Reader(Aishell1Options, read_aishell1),
    "aishell3": Reader(Aishell3Options, read_aishell3),
    "wenetspeech": Reader(WenetSpeechOptions, read_wenetspeech),
    "gigaspeech": Reader(GigaSpeechOptions, read_gigaspeech),
    "wenetspeech4tts": Reader(WenetSpeech4TTSOptions, read_wenetspeech4tts),
    "emilia": Reader(EmiliaOptions, read_emilia),
    "wenet_list": Reader(WenetListOptions, read_wenet_list),
    "kaldi": Reader(KaldiOptions, read_kaldi),
    "sidecar": Reader(SidecarOptions, read_sidecar),
    "sphinx": Reader(SphinxOptions, read_sphinx),
    "table": Reader(TableOptions, read_table),
    "huggingface": Reader(HuggingFaceOptions, read_huggingface),
    "instructions": Reader(InstructionsOptions, read_instructions),
    "untranscribed": Reader(UntranscribedOptions, read_untranscribed),
}
