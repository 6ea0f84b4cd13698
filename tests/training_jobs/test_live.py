"""A trained model's replies as they come: the same as whole ones, playable, and clear about what cannot be answered."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from models import (
    AudioSegment,
    AudioTokenizer,
    End,
    MctpConfig,
    MctpForCausalLM,
    TextPiece,
    load_audio_tokenizer,
)
from training_jobs import encode_prompt
from training_jobs.decoding_settings import DecodingSettings
from training_jobs.dialogue import TRANSCRIBE_PROMPT, SpeechModel
from training_jobs.live import LiveConversation, Streamer
from training_jobs.serving import RequestError, ServingParams, ServingTask, SpeechService
from training_jobs.spec import MODES, Mode

WORDS = ("one", "two", "six")
ASK = "<|audio|>"
RATE_HZ = 22_050


@pytest.fixture(scope="module")
def model(trained: Any) -> SpeechModel:
    return SpeechModel.load(trained.model_dir)


@pytest.fixture(scope="module")
def audio_tokenizer(trained: Any) -> AudioTokenizer:
    return load_audio_tokenizer(trained.tokenizer_dir)


@pytest.fixture(scope="module")
def streamer(model: SpeechModel, audio_tokenizer: AudioTokenizer) -> Streamer:
    return Streamer(model, audio_tokenizer)


@pytest.fixture(scope="module")
def heard(trained: Any, audio_tokenizer: AudioTokenizer) -> dict[str, list[int]]:
    return {word: audio_tokenizer.encode(*soundfile.read(trained.wav[word])) for word in WORDS}


def text_of(events: Sequence[Any]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextPiece))


def numbers_of(events: Sequence[Any]) -> list[int]:
    return [number for event in events if isinstance(event, AudioSegment) for number in event.tokens]


@pytest.mark.parametrize("mode", MODES)
def test_a_streamed_reply_is_the_whole_one(
    model: SpeechModel, streamer: Streamer, heard: Any, mode: Mode
) -> None:
    for word in WORDS:
        messages = [{"role": "user", "content": ASK}]
        reply = model.reply(messages, [heard[word]], mode, 60)
        assert reply.audio_tokens and reply.text
        found = list(streamer.reply(messages, [heard[word]], mode, 60))
        assert (text_of(found).strip(), numbers_of(found)) == (reply.text, reply.audio_tokens)
        assert isinstance(found[-1], End) and found[-1].ended == reply.ended


def test_a_streamed_reply_can_be_played_and_its_durations_add_up(
    streamer: Streamer, heard: Any, audio_tokenizer: AudioTokenizer, tmp_path: Path
) -> None:
    path = tmp_path / "reply.wav"
    messages = [{"role": "user", "content": ASK}]
    starts, tokens = [], 0
    with soundfile.SoundFile(path, "w", RATE_HZ, channels=1, subtype="PCM_16") as file:
        # Chunks of two, so that this short word is several.
        streamed = streamer.reply(messages, [heard["two"]], "boost", 60)
        for event in streamed:
            if isinstance(event, AudioSegment):
                starts.append(event.start_s)
                assert event.start_s == pytest.approx(file.tell() / RATE_HZ)
                assert event.waveform is not None
                file.write(event.waveform.clip(-1, 1))
                tokens += len(event.tokens)
    played, rate = soundfile.read(path)
    assert rate == RATE_HZ and len(played) / rate == pytest.approx(tokens / audio_tokenizer.frame_rate)
    assert starts[0] == 0 and np.sqrt(np.mean(played**2)) > 0.01  # and it is no silence


def test_turns_are_together_the_whole_conversations_prompt(
    model: SpeechModel, streamer: Streamer, heard: Any
) -> None:
    system = "Answer with the word that you hear."
    live = LiveConversation(streamer, system=system, max_new_tokens=40)
    messages, audios = [{"role": "system", "content": system}], []
    turns = [(ASK, ["two"]), ("Convert the speech to text.\n<|audio|>", ["one"]), ("你好 é", [])]
    turns.append((f"Which is it, {ASK} or {ASK}?", ["six", "one"]))
    modes: list[Mode] = ["boost", "vanilla", "turbo", "balance"]
    for (content, words), mode in zip(turns, modes, strict=True):
        given = [heard[word] for word in words]
        messages.append({"role": "user", "content": content})
        audios += given
        events = live.say(content, given, mode=mode)
        # What the model says is not laid out anew: its ids stand as they are between encode_prompt's.
        said = [list(turn.reply) for turn in live.conversation.turns[:-1]]
        assert live.conversation.context == whole(model, messages, audios, said, live)
        found = list(events)
        turn = live.conversation.turns[-1]
        reply = model.read(turn.reply)
        assert (text_of(found).strip(), numbers_of(found)) == (reply.text, reply.audio_tokens)
        messages.append({"role": "assistant", "content": ""})


def whole(
    model: SpeechModel, messages: Any, audios: Any, said: list[list[int]], live: LiveConversation
) -> list[int]:
    """``encode_prompt`` of all messages, where each empty reply is replaced by what was said."""
    ids = encode_prompt(messages, audios, model.tokenizer, model.ratio)
    empty = encode_prompt([{"role": "assistant", "content": ""}], [], model.tokenizer, model.ratio)
    head = encode_prompt([], [], model.tokenizer, model.ratio)
    closing = empty[len(head) : -len(head)]
    place = 0
    for reply, turn in zip(said, live.conversation.turns, strict=False):
        while ids[place : place + len(head)] != head:
            place += 1
        place += len(head)
        assert ids[place : place + len(closing)] == closing
        ids[place : place + len(closing)] = reply + turn.closing
        place += len(reply)
    return ids


def test_replies_as_they_were_learnt_make_the_prompt_that_encode_prompt_makes(
    model: SpeechModel, streamer: Streamer, heard: Any
) -> None:
    live = LiveConversation(streamer, max_new_tokens=60)
    events = list(live.say("Convert the speech to text.\n<|audio|>", [heard["six"]]))
    assert text_of(events) == "six" and events[-1].ended
    messages = [
        {"role": "user", "content": "Convert the speech to text.\n<|audio|>"},
        {"role": "assistant", "content": "six"},
        {"role": "user", "content": ASK},
    ]
    live.say(ASK, [heard["one"]]).close()
    turns = live.conversation.turns
    assert turns[0].ids + turns[1].asked == encode_prompt(
        messages, [heard["six"], heard["one"]], model.tokenizer, model.ratio
    )
    spoken = LiveConversation(streamer, max_new_tokens=60)
    events = list(spoken.say(ASK, [heard["two"]]))
    assert text_of(events).strip() == "two" and events[-1].ended
    messages = [
        {"role": "user", "content": ASK},
        {"role": "assistant", "content": f"two\n{ASK}"},
        {"role": "user", "content": "again"},
    ]
    spoken.say("again").close()
    turns = spoken.conversation.turns
    assert turns[0].ids + turns[1].asked == encode_prompt(
        messages, [heard["two"], numbers_of(events)], model.tokenizer, model.ratio
    )


def test_a_reply_that_was_interrupted_is_part_of_what_the_next_one_answers(
    streamer: Streamer, heard: Any
) -> None:
    live = LiveConversation(streamer, max_new_tokens=60)
    with closing(live.say(ASK, [heard["two"]])) as events:
        first = next(events)
    assert isinstance(first, TextPiece)
    words = streamer.vocabulary
    (turn,) = live.conversation.turns
    assert turn.closing[-1 - len(words.after_turn) :] == [words.end_of_turn, *words.after_turn]
    following = live.say(ASK, [heard["six"]], mode="turbo", max_new_tokens=20)
    context = live.conversation.context
    found = list(following)
    alone = streamer.engine.generate(context, [1, 10], 20, words.end_of_turn)
    assert numbers_of(found) == streamer.model.read(alone).audio_tokens
    live.close()


TASKS: list[tuple[ServingTask, bool]] = [("asr", True), ("asr", False), ("sqa", True), ("tts", True)]


@pytest.mark.parametrize(("task", "speak"), TASKS)
def test_the_service_streams_what_it_answers(
    trained: Any, model: SpeechModel, audio_tokenizer: AudioTokenizer, task: ServingTask, speak: bool
) -> None:
    service = SpeechService(model, audio_tokenizer)
    params = ServingParams(task=task, max_new_tokens=60, speak=speak)
    request = "two" if task == "tts" else str(trained.wav["two"])
    (answer,) = service.answer([request], params)
    found = list(service.stream(request, params))
    assert text_of(found).strip() == answer.text
    seconds = len(numbers_of(found)) / audio_tokenizer.frame_rate
    header = 44
    assert seconds == pytest.approx(max(0, len(answer.audio_wav) - header) / 2 / RATE_HZ)
    assert bool(seconds) == (task != "asr" or speak)
    assert isinstance(found[-1], End) and sum(isinstance(event, End) for event in found) == 1


def test_what_a_streamer_says_is_constrained_as_its_model_is_unless_asked_otherwise(
    trained: Any, audio_tokenizer: AudioTokenizer
) -> None:
    bound = SpeechModel.load(trained.model_dir, decoding=DecodingSettings(constrained=True))
    streamer = Streamer(bound, audio_tokenizer)
    messages = [{"role": "user", "content": TRANSCRIBE_PROMPT}]
    heard = [audio_tokenizer.encode(*soundfile.read(trained.wav["two"], dtype="float32"))]
    said = {
        asked: text_of(list(streamer.reply(messages, heard, "boost", 60, constrained=asked))).strip()
        for asked in (None, True, False)
    }
    assert said[False] == "two" and said[None] == said[True] != "two"
    assert [bound.reply(messages, heard, "boost", 60, constrained=asked).text for asked in said] == list(
        said.values()
    )


def random_model(model: SpeechModel, modules: int) -> SpeechModel:
    torch.manual_seed(0)
    config = MctpConfig(
        vocab_size=model.engine.config.vocab_size,
        hidden_size=16,
        intermediate_size=16,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_hidden_layers=1 + modules,
        num_nextn_predict_layers=modules,
        max_position_embeddings=128,
    )
    return SpeechModel(MctpForCausalLM(config).eval(), model.tokenizer, model.ratio)


def test_what_cannot_be_answered_is_said_at_the_call(
    trained: Any, model: SpeechModel, audio_tokenizer: AudioTokenizer, streamer: Streamer
) -> None:
    question = [{"role": "user", "content": ASK}]
    long = [{"role": "user", "content": "a" * 600}]
    live = LiveConversation(streamer)
    with pytest.raises(ValueError, match=r"prompt has 6.. tokens.*512 positions"):
        streamer.reply(long, [], "boost", 10)
    with pytest.raises(ValueError, match=r"turn of 6.. tokens.*window of 512"):
        live.say("a" * 600, max_new_tokens=10)
    for empty in ([[]], [[1], []]):
        content = ASK * len(empty)
        match = f"audio {len(empty) - 1} is empty"
        with pytest.raises(ValueError, match=match):
            streamer.reply([{"role": "user", "content": content}], empty, "boost", 10)
        with pytest.raises(ValueError, match=match):
            live.say(content, empty)
        with pytest.raises(ValueError, match=match):
            model.reply([{"role": "user", "content": content}], empty, "boost", 10)
    with pytest.raises(ValueError, match=r"token 32 is outside .* 32 audio tokens"):
        streamer.reply(question, [[1, 32]], "boost", 10)
    with pytest.raises(ValueError, match=r"token 32 is outside .* 32 audio tokens"):
        live.say(ASK, [[1, 32]])
    assert live.conversation.turns == []
    without = Streamer(random_model(model, 0), audio_tokenizer)
    with pytest.raises(ValueError, match=r"10 MCTP steps in a row, but the model has 0 modules"):
        without.reply(question, [[1]], "boost", 10)
    with pytest.raises(ValueError, match=r"10 MCTP steps in a row, but the model has 0 modules"):
        LiveConversation(without).say("hi", max_new_tokens=10)
    service = SpeechService(model, audio_tokenizer)
    with pytest.raises(RequestError, match=r"no file 'nowhere\.wav'"):
        service.stream("nowhere.wav", ServingParams())
    with pytest.raises(RequestError, match="text to speak is empty"):
        service.stream(" ", ServingParams(task="tts"))
    silence = trained.wav["one"].with_name("nothing.wav")
    soundfile.write(silence, np.zeros(0, dtype=np.float32), RATE_HZ)
    with pytest.raises(RequestError, match="holds no sample"):
        service.stream(str(silence), ServingParams())


def test_a_model_that_says_codes_its_tokenizer_lacks_is_stopped_there(
    model: SpeechModel, audio_tokenizer: AudioTokenizer
) -> None:
    # Vocabulary for 32 codes, an audio tokenizer of 16, random weights.
    streamer = Streamer(random_model(model, 1), audio_tokenizer)
    first, most = streamer.vocabulary.first_audio, audio_tokenizer.vocabulary_size
    events = streamer.events([first + 3, first + most], since_s=0.0)
    with pytest.raises(ValueError, match=r"audio token 1 is number 16, .* 16 codes \(0 to 15\)"):
        list(events)
