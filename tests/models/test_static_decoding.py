"""Steps of static shape decide what all others do; without a GPU they run as they are, with one as graphs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from models import AudioWords, Engine, MctpForCausalLM, Sampling
from models.static_steps import CAPACITY_STEP, MOST_ROWS

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")),
]
SCHEDULE_LISTS = [[1, 0], [1, 3], [1, 1, 2, 3, 1, 0], [2, 2]]
WORDS = AudioWords(first=20, count=30, others=(3, 5))
LONG = [number * 7 % 64 for number in range(MOST_ROWS + 8)]


def both(model: MctpForCausalLM) -> tuple[Engine, Engine]:
    return Engine(model, audio_words=WORDS), Engine(model, audio_words=WORDS, static=True)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["mtp1", "mtp10"])
def test_generations_equal_the_reference(load_golden: Any, name: str, device: str) -> None:
    model, golden = load_golden(name)
    engine = Engine(model.to(device), static=True)
    for case in golden["generations"]:
        ids = engine.generate(case["prompt"], case["mtp_inference_mode"], case["max_new_tokens"])
        assert ids == case["output"], case["mtp_inference_mode"]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("schedule", SCHEDULE_LISTS)
@pytest.mark.parametrize(
    "sampling", [None, Sampling(temperature=0.9, top_k=12, repetition_penalty=1.2, seed=11)]
)
@pytest.mark.parametrize("constrained", [False, True])
def test_they_equal_the_steps_of_any_shape(
    make_model: Any, device: str, schedule: list[int], sampling: Sampling | None, constrained: bool
) -> None:
    plain, static = both(make_model().to(device))
    for prompt in ([3, 1, 4], LONG, [9]):  # one prompt is read as it is, and memory is used again after it
        expected = plain.generate(prompt, schedule, 24, sampling=sampling, constrained=constrained)
        assert static.generate(prompt, schedule, 24, sampling=sampling, constrained=constrained) == expected


def test_two_generations_at_a_time_have_memory_of_their_own(make_model: Any) -> None:
    plain, static = both(make_model())
    expected = [plain.generate(prompt, [1, 3], 12) for prompt in ([3, 1], [8])]
    one, two = (static.stream(prompt, [1, 3], 12) for prompt in ([3, 1], [8]))
    assert [list(pair) for pair in zip(*zip(one, two, strict=True), strict=True)] == expected


def test_memory_is_kept_for_the_next_generation_also_of_one_that_was_left(make_model: Any) -> None:
    plain, static = both(make_model())
    assert static._pool is not None
    for length in (4, 9):
        stream = static.stream(LONG[:length], [1, 2], 30)
        next(stream)
        stream.close()
    assert static.generate([5, 6], [1, 2], 20) == plain.generate([5, 6], [1, 2], 20)
    ((capacity, modules), idle), *others = static._pool._idle.items()
    assert (capacity, modules, len(idle), others) == (CAPACITY_STEP, 2, 1, [])


def test_what_was_no_number_does_not_reach_the_next_generation(make_model: Any) -> None:
    plain, static = both(make_model())
    static.generate([5, 6], [1, 2], 20)
    assert static._pool is not None
    ((steps,),) = static._pool._idle.values()
    with torch.inference_mode():
        for block in (*steps.memory.keys_BCGd, *steps.memory.values_BCGd, steps.states_LCD):
            block.fill_(torch.nan)
    assert static.generate([5, 6], [1, 2], 20) == plain.generate([5, 6], [1, 2], 20)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("schedule", SCHEDULE_LISTS)
def test_the_kernel_for_half_precision_sees_what_the_mask_shows(make_model: Any, schedule: list[int]) -> None:
    """Attention of the recorded steps beside that of the others; both in bfloat16, where tokens may tie."""
    sizes = {"hidden_size": 256, "intermediate_size": 384}  # heads of 64
    plain, static = both(make_model(**sizes).to("cuda", torch.bfloat16))
    for prompt in ([3, 1, 4], LONG):
        expected = plain.generate(prompt, schedule, 24)
        found = static.generate(prompt, schedule, 24)
        same = sum(one == two for one, two in zip(found, expected, strict=True))
        assert found[:2] == expected[:2]
        assert same >= 20
