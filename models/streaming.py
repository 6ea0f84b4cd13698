"""A reply as it comes: text piece by piece, and audio in segments that can be played one after another."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from models.speech_vocabulary import SpeechVocabulary
from models.text_pieces import TextPieces
from models.tokenizers.interface import AudioTokenizer, NoDecoderError

FIRST_CHUNK = 8  # audio tokens: what all schedules of DESIGN §5 give in the first round or two
LONGEST_CHUNK = 16


@dataclass(frozen=True)
class TextPiece:
    """Some of the reply's text; all pieces together are the text of all its text tokens.

    Attributes:
        text: never empty, never a part of a character.
        at_s: seconds since the request.
    """

    text: str
    at_s: float


@dataclass(frozen=True, eq=False)
class AudioSegment:
    """Some of the reply's audio.

    The segments follow each other without gap or overlap. A tokenizer whose ``decode`` gives each code the same number
    of samples (``mel_kmeans``: 1,764) makes segments that are together as long as all codes decoded at once, to the
    sample. The samples are not the same, though: each segment is decoded without knowledge of its neighbours. With
    ``mel_kmeans`` the spectrum aimed at differs in the two frames of 11 ms at each border, which the whole would
    smooth; phases are found for each segment by itself, and one that is too loud is scaled down by itself. Whoever
    wants the whole's samples decodes all tokens again at the end.

    Attributes:
        tokens: audio token numbers, not vocabulary ids.
        waveform: mono, of shape (samples,), at 22,050 Hz; ``None`` where the tokenizer only listens.
        start_s: its position in the reply's audio.
        at_s: seconds since the request, the decoding of the waveform included.
    """

    tokens: tuple[int, ...]
    waveform: NDArray[np.float32] | None
    start_s: float
    at_s: float


@dataclass(frozen=True)
class End:
    """The last event.

    Attributes:
        ended: whether the model ended its turn, rather than running into the limit.
        at_s: seconds since the request.
    """

    ended: bool
    at_s: float


Event = TextPiece | AudioSegment | End


def stream_events(
    tokens: Iterable[int],
    vocabulary: SpeechVocabulary,
    decode_text: Callable[[list[int]], str],
    audio_tokenizer: AudioTokenizer,
    *,
    first_chunk: int = FIRST_CHUNK,
    longest_chunk: int = LONGEST_CHUNK,
    since_s: float | None = None,
) -> Generator[Event, None, None]:
    """Text and audio of a reply while it is decoded; the next token is decided when the next event is asked for.

    The first segment of audio has ``first_chunk`` tokens, from as many runs as that takes. After it a segment is due
    when its run of audio ends, at the marker or at any other token that is none of audio, and every
    ``longest_chunk`` tokens of a run. What is left comes with the end, after which no token is asked for.

    Closing the generator closes ``tokens`` if that is a generator, which frees what the decoding holds. It is closed
    when it is let go of; ``contextlib.closing`` does so in a consumer that may fail.

    Args:
        tokens: the reply's ids, such as :meth:`models.engine.Engine.stream` gives.
        vocabulary: what they mean.
        decode_text: the text of ids that are neither audio, nor its markers, nor the end of the turn; nothing for
            those that are no text either. It must not tidy up spaces.
        audio_tokenizer: makes waveforms.
        first_chunk: audio tokens of the first segment.
        longest_chunk: audio tokens of each further one, at most.
        since_s: the time of the request by ``time.perf_counter``; without it that of this call.

    Raises:
        ModelError: at the call, for a chunk below 1; while iterating, for an audio token that the audio tokenizer
            does not have, and whatever ``tokens`` raises.
    """
    for name, count in (("first_chunk", first_chunk), ("longest_chunk", longest_chunk)):
        if count < 1:
            raise ModelError(f"{name} is {count}, but must be at least 1")
    since_s = time.perf_counter() if since_s is None else since_s
    audio = _Audio(audio_tokenizer, first_chunk, longest_chunk, since_s)
    return _events(tokens, vocabulary, TextPieces(decode_text), audio, since_s)


def _events(
    tokens: Iterable[int],
    vocabulary: SpeechVocabulary,
    text: TextPieces,
    audio: _Audio,
    since_s: float,
) -> Generator[Event, None, None]:
    markers = (vocabulary.begin_of_audio, vocabulary.end_of_audio)
    ended = False
    try:
        for token in tokens:
            number = vocabulary.audio_number(token)
            if number is not None:
                audio.append(number)
                if audio.is_full:
                    yield audio.segment()
                continue
            if audio.is_due_at_a_border:
                yield audio.segment()
            if ended := token == vocabulary.end_of_turn:
                break
            if token not in markers and (piece := text.push(token)):
                yield TextPiece(piece, time.perf_counter() - since_s)
        if audio.waiting:
            yield audio.segment()
        if piece := text.rest():
            yield TextPiece(piece, time.perf_counter() - since_s)
        yield End(ended, time.perf_counter() - since_s)
    finally:
        if isinstance(tokens, Generator):
            tokens.close()


class _Audio:
    """Audio tokens that wait for their segment, and how far the audio has come."""

    def __init__(self, tokenizer: AudioTokenizer, first: int, longest: int, since_s: float) -> None:
        self._tokenizer, self._first, self._longest, self._since_s = tokenizer, first, longest, since_s
        self._given = 0
        self.waiting: list[int] = []

    def append(self, number: int) -> None:
        """Take a token.

        Raises:
            ModelError: if the tokenizer does not have it.
        """
        codes = self._tokenizer.vocabulary_size
        if number >= codes:
            place = self._given + len(self.waiting)
            raise ModelError(
                f"the reply's audio token {place} is number {number}, but the audio tokenizer has {codes} codes "
                f"(0 to {codes - 1}): the model was made for another one, or has learnt too little"
            )
        self.waiting.append(number)

    @property
    def is_full(self) -> bool:
        """Whether a segment is due in the midst of a run."""
        return len(self.waiting) == (self._longest if self._given else self._first)

    @property
    def is_due_at_a_border(self) -> bool:
        """Whether one is due if the run ends here."""
        return bool(self._given and self.waiting)

    def segment(self) -> AudioSegment:
        """What waits, decoded."""
        numbers, start_s = tuple(self.waiting), self._given / self._tokenizer.frame_rate
        self._given += len(numbers)
        self.waiting.clear()
        try:
            waveform = self._tokenizer.decode(numbers)
        except NoDecoderError:
            waveform = None
        return AudioSegment(numbers, waveform, start_s, time.perf_counter() - self._since_s)
