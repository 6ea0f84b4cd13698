"""A conversation says what decoding it from scratch would say, whatever is kept, cut off or discarded."""

from __future__ import annotations

import gc
import random
import resource
import weakref
from itertools import cycle, islice, pairwise
from typing import Any

import pytest
import torch

from models import AudioWords, Conversation, Engine, Sampling, SpeechVocabulary
from models import conversation as conversation_module
from models.decoding import Memory

WORDS = SpeechVocabulary(
    first_audio=30, audio_codes=30, begin_of_audio=60, end_of_audio=61, end_of_turn=62, after_turn=(63,)
)
SYSTEM = [7, 7, 1, 62, 63]
SCHEDULES = [[1, 3], [1, 0], [2, 1], [1, 1, 2, 3, 1, 0], [3, 2]]


def asked(number: int) -> list[int]:
    """Of another length and content each time."""
    draw = random.Random(number)
    return [draw.randrange(30) for _ in range(1 + number % 9)]


@pytest.mark.parametrize("first", range(len(SCHEDULES)))
def test_replies_equal_those_to_the_whole_as_a_prompt_in_changing_schedules(
    make_model: Any, first: int
) -> None:
    engine = Engine(make_model(max_position_embeddings=512, seed=first))
    conversation = Conversation(engine, WORDS, system_ids=SYSTEM)
    schedules = islice(cycle(SCHEDULES), first, None)
    for number, schedule in zip(range(14), schedules, strict=False):
        reply = conversation.say(asked(number), schedule, 11 + number % 5)
        context = conversation.context
        assert context[-len(asked(number)) :] == asked(number)
        assert list(reply) == engine.generate(context, schedule, 11 + number % 5, WORDS.end_of_turn)
        assert conversation.context[-2:] == [62, 63]
    assert conversation.discarded_turns == 0
    assert conversation.context[: len(SYSTEM)] == SYSTEM


@pytest.mark.parametrize("name", ["mtp1", "mtp10"])
def test_goldens_converse_as_they_generate(load_golden: Any, name: str) -> None:
    model, golden = load_golden(name)
    engine = Engine(model)
    words = SpeechVocabulary(2, 4, 6, 7, end_of_turn=1)
    conversation = Conversation(engine, words)
    for case in golden["generations"]:
        new, schedule = case["max_new_tokens"], case["mtp_inference_mode"]
        reply = conversation.say(case["prompt"], schedule, new)
        context = conversation.context
        assert list(reply) == engine.generate(context, schedule, new, 1)
    (case,) = golden["generations"][:1]
    alone = Conversation(engine, SpeechVocabulary(2, 4, 6, 7, end_of_turn=-1))
    assert (
        list(alone.say(case["prompt"], case["mtp_inference_mode"], case["max_new_tokens"])) == case["output"]
    )


def test_sampled_and_constrained_turns_equal_plain_ones(make_model: Any) -> None:
    words = AudioWords(first=30, count=30, others=(60, 61, 62))
    engine = Engine(make_model(max_position_embeddings=512), audio_words=words)
    conversation = Conversation(engine, WORDS, system_ids=SYSTEM)
    for number in range(8):
        way: dict[str, Any] = {
            "constrained": number % 3 == 1,
            "sampling": Sampling(0.8, 20, 0.9, 1.2, seed=number) if number % 2 else None,
        }
        reply = conversation.say(asked(number), [1, 3], 12, **way)
        context = conversation.context
        assert list(reply) == engine.generate(context, [1, 3], 12, WORDS.end_of_turn, **way)


def test_a_turn_reads_its_own_ids_only(make_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(make_model(max_position_embeddings=512))
    conversation = Conversation(engine, WORDS, system_ids=SYSTEM)
    read: list[int] = []
    layer, *layers = engine.weights.backbone

    def counted(hidden_ND: Any, *rest: Any) -> Any:
        read.append(len(hidden_ND))
        return layer(hidden_ND, *rest)

    monkeypatch.setattr(engine.weights, "backbone", [counted, *layers])
    for number in range(6):
        before = sum(read)
        new = len(list(conversation.say(asked(number), [1, 3], 12)))
        # The last reply's unread end and its closing come on top of the turn and of this reply.
        assert sum(read) - before <= len(asked(number)) + new + 4 + 3 + (len(SYSTEM) if number == 0 else 0)
    assert sum(read) <= len(conversation.context)


def test_the_window_slides_over_whole_turns_and_keeps_the_system_prompt(make_model: Any) -> None:
    engine = Engine(make_model())
    conversation = Conversation(engine, WORDS, system_ids=SYSTEM, max_tokens=96)
    everything = list(SYSTEM)
    discards = []
    for number in range(40):
        before = conversation.discarded_turns
        schedule = SCHEDULES[number % len(SCHEDULES)]
        reply = conversation.say(asked(number), schedule, 10)
        context = conversation.context
        assert list(reply) == engine.generate(context, schedule, 10, WORDS.end_of_turn)
        everything += conversation.turns[-1].ids
        kept = [token for turn in conversation.turns for token in turn.ids]
        assert conversation.context == SYSTEM + kept and everything[-len(kept) :] == kept
        assert len(conversation.context) <= 96
        if conversation.discarded_turns > before:
            discards.append(number)
            room = 96 - len(SYSTEM) - len(asked(number)) - 10 - WORDS.longest_closing
            assert sum(map(len, conversation.turns[:-1])) <= room // 2
    assert conversation.discarded_turns + len(conversation.turns) == 40
    # Half of the room is free after each: turns do not discard one by one.
    assert discards and min(later - one for one, later in pairwise(discards)) > 1


def test_a_turn_that_the_window_cannot_hold_is_refused_with_both_numbers(make_model: Any) -> None:
    engine = Engine(make_model())
    conversation = Conversation(engine, WORDS, system_ids=SYSTEM, max_tokens=40)
    first = list(conversation.say([1, 2], [1, 3], 5))
    before = conversation.context
    with pytest.raises(ValueError, match=r"a turn of 30 tokens, with 5 .* and 8 .* window of 40 tokens"):
        conversation.say([1] * 30, [1, 3], 5)
    assert conversation.context == before
    # The longest that fits; it alone is kept.
    again = conversation.say([1] * 27, [1, 3], 5)
    context = conversation.context
    assert context == SYSTEM + [1] * 27
    assert list(again) == engine.generate(context, [1, 3], 5, WORDS.end_of_turn)
    assert len(first) and conversation.discarded_turns == 1


@pytest.mark.parametrize("how", ["closed", "dropped", "left open", "not begun"])
def test_a_reply_that_is_cut_off_stays_as_far_as_it_came(make_model: Any, how: str) -> None:
    engine = Engine(make_model(max_position_embeddings=512))
    conversation = Conversation(engine, WORDS, system_ids=SYSTEM)
    list(conversation.say(asked(3), [1, 3], 9))
    before = len(conversation.context)
    reply = conversation.say(asked(4), [1, 3], 30)
    said = [] if how == "not begun" else [next(reply) for _ in range(6)]
    assert WORDS.end_of_turn not in said
    if how == "closed":
        reply.close()
    elif how == "dropped":
        del reply
    following = conversation.say(asked(5), [2, 1], 9)
    closing = WORDS.closing(said)
    assert conversation.context[before:] == [*asked(4), *said, *closing, *asked(5)]
    context = conversation.context
    assert list(following) == engine.generate(context, [2, 1], 9, WORDS.end_of_turn)
    if how in ("left open", "not begun"):
        # The turn is over; what is left of its iterator says nothing, and disturbs nobody.
        after = conversation.context
        assert list(reply) == []
        assert conversation.context == after


def test_a_reply_that_stops_within_audio_has_its_audio_closed() -> None:
    assert WORDS.closing([1, 60, 30]) == [61, 62, 63]
    assert WORDS.closing([1, 60, 30, 61, 2]) == [62, 63]
    assert WORDS.closing([60, 30, 62]) == [63]
    assert WORDS.closing([]) == [62, 63]


@pytest.mark.parametrize("failing", ["backbone", "modules"])
def test_a_step_that_broke_off_does_not_spoil_the_next_turn(
    make_model: Any, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    engine = Engine(make_model(max_position_embeddings=512))
    conversation = Conversation(engine, WORDS, system_ids=SYSTEM)
    list(conversation.say(asked(3), [1, 3], 9))
    reply = conversation.say(asked(4), [1, 3], 30)
    said = [next(reply) for _ in range(5)]

    def fail(*_: Any) -> None:
        raise MemoryError("full")

    with monkeypatch.context() as patched:
        patched.setattr(engine.weights, failing, [*getattr(engine.weights, failing)[:-1], fail])
        with pytest.raises(MemoryError):
            said += list(reply)
    following = conversation.say(asked(5), [1, 3], 9)
    context = conversation.context
    assert said == conversation.turns[-2].reply[: len(said)]
    assert list(following) == engine.generate(context, [1, 3], 9, WORDS.end_of_turn)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda engine: Conversation(engine, WORDS, max_tokens=129), "129 tokens exceeds .* 128 positions"),
        (
            lambda engine: Conversation(engine, WORDS, system_ids=[1] * 50, max_tokens=50),
            "system prompt has 50 tokens, but the window has 50",
        ),
        (lambda engine: Conversation(engine, WORDS, system_ids=[64]), "id 64"),
        (lambda engine: Conversation(engine, WORDS, modules=4), "of 4 modules .* the model has 3"),
        (lambda engine: Conversation(engine, WORDS).say([], [1, 0], 4), "the turn is empty"),
        (lambda engine: Conversation(engine, WORDS).say([64], [1, 0], 4), "id 64.*ends at 63"),
        (lambda engine: Conversation(engine, WORDS).say([1], [1, 10], 4), "has 3 modules"),
        (lambda engine: Conversation(engine, WORDS, modules=0).say([1], [1, 1], 4), "has 0 modules"),
        (lambda engine: Conversation(engine, WORDS).say([1], [1, 0], 0), "max_new_tokens is 0"),
        (
            lambda engine: Conversation(engine, WORDS).say([1], [1, 1], 4, constrained=True),
            "without audio words",
        ),
    ],
)
def test_faults_are_named_at_the_call(make_model: Any, make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(Engine(make_model()))


def test_a_closed_conversation_frees_its_caches_in_the_middle_of_a_reply(
    make_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[Memory]] = []

    def noted(*arguments: Any) -> Memory:
        memory = Memory(*arguments)
        made.append(weakref.ref(memory))
        return memory

    monkeypatch.setattr(conversation_module, "Memory", noted)
    engine = Engine(make_model())
    gc.disable()
    try:
        with Conversation(engine, WORDS) as conversation:
            reply = conversation.say([1, 2], [1, 3], 20)
            next(reply)
            assert made[0]() is not None
        # Though the reply is still held.
        assert made[0]() is None
        assert list(reply) == []
        with pytest.raises(ValueError, match="the conversation is closed"):
            conversation.say([1], [1, 0], 4)
        dropped = Conversation(engine, WORDS)
        list(islice(dropped.say([1, 2], [1, 3], 20), 4))
        del dropped
        assert made[1]() is None
    finally:
        gc.enable()


def test_a_thousand_turns_leave_memory_where_it_was(make_model: Any) -> None:
    conversation = Conversation(Engine(make_model()), WORDS, system_ids=SYSTEM, max_tokens=64)

    def talk(turns: int) -> None:
        for number in range(turns):
            reply = conversation.say(asked(number), SCHEDULES[number % len(SCHEDULES)], 6)
            for _ in islice(reply, 1 + number % 6):  # most are left in the middle
                pass

    talk(1000)  # until what the libraries keep for each shape of a matrix product is there
    gc.collect()
    # Tensors first: the list of all objects takes megabytes itself.
    tensors, before = _tensors(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    talk(1000)
    gc.collect()
    # States that modules have not read yet are of other turns now, but of no more than the window's tokens.
    assert _tensors() - tensors < conversation.max_tokens
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4096  # KiB
    assert conversation.discarded_turns > 1900


def _tensors() -> int:
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())
