"""Replies come as text and audio that can be used at once, and leave nothing behind when they are dropped."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers.convert_slow_tokenizer import bytes_to_unicode

from models import (
    AudioSegment,
    End,
    Engine,
    SpeechVocabulary,
    TextPiece,
    extend_text_tokenizer,
    make_byte_tokenizer,
    stream_events,
)
from models import engine as engine_module
from models.decoding import Decoder, Memory
from models.text_pieces import TextPieces
from models.tokenizers.interface import NoDecoderError

# In the 64 words of the small models: text is 0 to 29.
WORDS = SpeechVocabulary(
    first_audio=30, audio_codes=30, begin_of_audio=60, end_of_audio=61, end_of_turn=62, after_turn=(63,)
)
BEGIN, END_AUDIO, END_TURN = 60, 61, 62
SAMPLES = 1764


class Tones:
    """A code is 80 ms of samples that are all the code's number."""

    frame_rate, sample_rate, digest = 12.5, 22_050, "tones"

    def __init__(self, codes: int = 30) -> None:
        self.vocabulary_size = codes

    def encode(self, waveform: NDArray[np.float32], sample_rate: int) -> list[int]:
        return waveform[::SAMPLES].astype(int).tolist()

    def decode(self, codes: Sequence[int]) -> NDArray[np.float32]:
        return np.repeat(np.asarray(codes, dtype=np.float32), SAMPLES)


class Ear(Tones):
    """Listens only."""

    def decode(self, codes: Sequence[int]) -> NDArray[np.float32]:
        raise NoDecoderError("there is no decoder")


def letters(ids: list[int]) -> str:
    return "".join(chr(ord("a") + token) for token in ids if token < 26)


def events_of(tokens: Sequence[int], **options: Any) -> list[Any]:
    return list(stream_events(iter(tokens), WORDS, letters, options.pop("audio", Tones()), **options))


def audio(*numbers: int) -> list[int]:
    return [WORDS.first_audio + number for number in numbers]


def told(events: Sequence[Any]) -> list[Any]:
    """Events without times and waveforms."""
    return [
        event.text
        if isinstance(event, TextPiece)
        else list(event.tokens)
        if isinstance(event, AudioSegment)
        else event.ended
        for event in events
    ]


def test_the_first_segment_has_eight_tokens_and_each_further_one_ends_with_its_run() -> None:
    run = list(range(8))
    tokens = [0, BEGIN, *audio(*run), END_AUDIO, 1, 2, BEGIN, *audio(9, 10, 11), END_AUDIO, 3, END_TURN]
    assert told(events_of(tokens)) == ["a", run, "b", "c", [9, 10, 11], "d", True]


def test_the_first_segment_comes_with_its_eighth_token_and_not_with_the_marker_after_it() -> None:
    asked: list[int] = []

    def tokens() -> Iterator[int]:
        for token in [BEGIN, *audio(*range(8)), END_AUDIO, END_TURN]:
            asked.append(token)
            yield token

    events = stream_events(tokens(), WORDS, letters, Tones())
    assert told([next(events)]) == [list(range(8))]
    assert asked[-1] == WORDS.first_audio + 7
    assert told(list(events)) == [True]


def test_short_runs_join_to_the_first_segment_and_are_given_at_the_end_where_there_are_no_more() -> None:
    tokens = [0, BEGIN, *audio(1, 2), END_AUDIO, 1, BEGIN, *audio(3), END_AUDIO, END_TURN]
    assert told(events_of(tokens)) == ["a", "b", [1, 2, 3], True]


def test_a_long_run_is_given_in_parts_and_text_ends_a_run_that_lacks_its_marker() -> None:
    tokens = [BEGIN, *audio(*range(21)), 4, *audio(22)]
    found = events_of(tokens, first_chunk=2, longest_chunk=9)
    assert told(found) == [[0, 1], list(range(2, 11)), list(range(11, 20)), [20], "e", [22], False]


def test_segments_follow_each_other_without_gap_and_times_do_not_go_back() -> None:
    tokens = [0, BEGIN, *audio(*range(20)), END_AUDIO, 1, BEGIN, *audio(3, 4), END_AUDIO, END_TURN]
    found = events_of(tokens)
    segments = [event for event in found if isinstance(event, AudioSegment)]
    spoken = 0
    for segment in segments:
        assert segment.start_s == pytest.approx(spoken / 22_050)
        assert segment.waveform is not None
        spoken += len(segment.waveform)
    whole = Tones().decode([*range(20), 3, 4])
    assert np.array_equal(np.concatenate([segment.waveform for segment in segments]), whole)
    times = [event.at_s for event in found]
    assert times == sorted(times) and times[0] >= 0
    assert isinstance(found[-1], End)


def test_a_tokenizer_that_only_listens_gives_tokens_without_a_waveform() -> None:
    (segment, _) = events_of(audio(1, 2), audio=Ear())
    assert segment.tokens == (1, 2) and segment.waveform is None


def test_an_audio_token_that_the_audio_tokenizer_lacks_is_named() -> None:
    with pytest.raises(ValueError, match=r"audio token 9 is number 16, but .* has 16 codes \(0 to 15\)"):
        events_of(audio(*range(9), 16), audio=Tones(codes=16))


@pytest.mark.parametrize("name", ["first_chunk", "longest_chunk"])
def test_chunks_without_tokens_are_refused_at_the_call(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0, but must be at least 1"):
        stream_events(iter([]), WORDS, letters, Tones(), **{name: 0})


BYTES = make_byte_tokenizer()
ALPHABET = bytes_to_unicode()
DECODE = partial(BYTES.decode, clean_up_tokenization_spaces=False)


def pieces_of(ids: Sequence[int]) -> list[str]:
    text = TextPieces(DECODE)
    return [*(text.push(token) for token in ids), text.rest()]


def test_characters_that_are_split_over_tokens_come_whole() -> None:
    sentence = "Übung: 你好, 👩‍👩‍👧 – naïve!"
    pieces = pieces_of(BYTES(sentence)["input_ids"])
    assert "".join(pieces) == sentence
    assert [piece for piece in pieces if piece] == list(sentence)


def test_a_character_may_be_split_by_audio() -> None:
    tokenizer = extend_text_tokenizer(make_byte_tokenizer(), 8)
    ids = tokenizer.convert_tokens_to_ids
    first = ids("<|audio_0|>")
    words = SpeechVocabulary(first, 8, ids("<|begin_of_audio|>"), ids("<|end_of_audio|>"), ids("<|im_end|>"))
    one, two, three = tokenizer("好")["input_ids"]
    tokens = [one, two, words.begin_of_audio, *range(first, first + 8), words.end_of_audio, three]
    found = list(stream_events(tokens, words, DECODE, Tones()))
    assert told(found) == [list(range(8)), "好", False]


# Bytes as a model that has learnt little says them: of characters, cut off, over-long, surrogates, and mere noise.
_NOISE = st.lists(
    st.one_of(
        st.sampled_from(["é", "你", "👩", "�", "a", " "]).map(lambda one: list(one.encode())),
        st.sampled_from([[0xE2, 0x82], [0xF0, 0x9F], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90]]),
        st.lists(st.integers(0, 255), min_size=1, max_size=3),
    ),
    max_size=12,
)


@settings(max_examples=400, deadline=None)
@given(_NOISE)
def test_pieces_are_together_the_whole_text_whatever_the_bytes(parts: list[list[int]]) -> None:
    ids = [BYTES.convert_tokens_to_ids(ALPHABET[byte]) for part in parts for byte in part]
    assert "".join(pieces_of(ids)) == DECODE(ids)
    assert DECODE(ids) == bytes(byte for part in parts for byte in part).decode(errors="replace")


def test_streaming_batch_and_plain_decoding_say_the_same(make_model: Any) -> None:
    engine = Engine(make_model())
    prompts = [[3, 1, 4], [9], [2, 6, 5, 3, 5]]
    for schedule in ([1, 0], [1, 3], [1, 1, 2, 3]):
        batch = engine.generate_batch(prompts, schedule, 60, END_TURN)
        for prompt, ids in zip(prompts, batch, strict=True):
            assert ids == engine.generate(prompt, schedule, 60, END_TURN)
            found = list(
                stream_events(engine.stream(prompt, schedule, 60, END_TURN), WORDS, letters, Tones())
            )
            segments = [event.tokens for event in found if isinstance(event, AudioSegment)]
            numbers = [token - 30 for token in ids if 30 <= token < 60]
            assert [number for segment in segments for number in segment] == numbers
            assert "".join(event.text for event in found if isinstance(event, TextPiece)) == letters(ids)
            assert found[-1].ended == (END_TURN in ids)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> weakref.WeakSet[Any]:
    """The memories and decoders that engines have made and somebody still holds."""
    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    def noted(kind: Any) -> Any:
        def make(*arguments: Any) -> Any:
            made = kind(*arguments)
            alive.add(made)
            return made

        return make

    monkeypatch.setattr(engine_module, "Memory", noted(Memory))
    monkeypatch.setattr(engine_module, "Decoder", noted(Decoder))
    return alive


def test_closing_in_the_middle_frees_the_caches_at_once(make_model: Any, held: Any) -> None:
    engine = Engine(make_model())
    gc.disable()
    try:
        tokens = engine.stream([1, 2], [1, 3], 60)
        events = stream_events(tokens, WORDS, letters, Tones(), first_chunk=1)
        next(events)
        assert len(held) == 2
        # Though someone still holds the tokens.
        events.close()
        assert len(held) == 0
        assert list(tokens) == []
    finally:
        gc.enable()


def test_a_stream_that_is_dropped_before_it_began_frees_the_caches_too(make_model: Any, held: Any) -> None:
    engine = Engine(make_model())
    events = stream_events(engine.stream([1, 2], [1, 3], 60), WORDS, letters, Tones())
    assert len(held) == 2
    del events
    assert len(held) == 0


def test_a_consumer_that_raises_frees_the_caches(make_model: Any, held: Any) -> None:
    engine = Engine(make_model())

    def consume() -> None:
        tokens = engine.stream([1, 2], [1, 3], 60)
        for _ in stream_events(tokens, WORDS, letters, Tones(), first_chunk=1):
            raise RuntimeError("the line is dead")

    def consume_and_close() -> None:
        tokens = engine.stream([1, 2], [1, 3], 60)
        with closing(stream_events(tokens, WORDS, letters, Tones(), first_chunk=1)) as events:
            for _ in events:
                raise RuntimeError("the line is dead")

    with pytest.raises(RuntimeError) as first:
        consume_and_close()
    assert len(held) == 0  # while the error, with its frames, is still being looked at
    assert first.value.args == ("the line is dead",)
    with pytest.raises(RuntimeError) as caught:
        consume()
    assert len(held) == 0
    assert caught.value.args == ("the line is dead",)


def test_an_error_while_decoding_frees_the_caches(make_model: Any, held: Any) -> None:
    engine = Engine(make_model())
    tokens = engine.stream([1, 2], [1, 3], 60)
    with pytest.raises(ValueError, match="has 1 codes"):
        list(stream_events(tokens, WORDS, letters, Tones(codes=1), first_chunk=1))
    assert len(held) == 0
