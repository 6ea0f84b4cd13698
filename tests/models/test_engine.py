"""An engine made once decodes as the reference does: fused, sampled, constrained, in batches, again and again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from plain_decoding import logits_of
from torch import Tensor

from models import AudioWords, Engine, Sampling, generate

PROMPTS = [[3, 1, 4, 1, 5], [9], [2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2], [3, 8]]
SCHEDULE_LISTS = [[1, 0], [1, 3], [1, 1, 2, 3, 1, 0], [2, 2]]


def draw(logits_V: Tensor, tokens: list[int], sampling: Sampling, generator: torch.Generator) -> int:
    """Each filter written out, as its paper has it."""
    scores = logits_V.clone()
    for token in set(tokens):
        scores[token] *= sampling.repetition_penalty if scores[token] < 0 else 1 / sampling.repetition_penalty
    if sampling.temperature == 0:
        return int(scores.argmax())
    scores /= sampling.temperature
    if sampling.top_k:
        scores[scores < scores.sort(descending=True).values[sampling.top_k - 1]] = -torch.inf
    if sampling.top_p < 1:
        shares, order = scores.softmax(dim=-1).sort(descending=True)
        before = shares.cumsum(dim=-1) - shares  # how much the likelier ones have together
        scores[order[before >= sampling.top_p]] = -torch.inf
    return int(torch.multinomial(scores.softmax(dim=-1), 1, generator=generator))


def plain_loop(
    model: Any, prompt: list[int], schedule: list[int], new: int, sampling: Sampling, allowed: Tensor | None
) -> list[int]:
    generator = torch.Generator().manual_seed(sampling.seed)
    tokens = list(prompt)
    pairs = list(zip(schedule[::2], schedule[1::2], strict=True))
    levels = [level for backbone, mctp in pairs for level in [0] * backbone + list(range(1, mctp + 1))]
    last = [level for backbone, mctp in pairs[-1:] for level in [0] * backbone + list(range(1, mctp + 1))]
    steps = (levels + last * new)[:new]
    for level in steps:
        logits_V = logits_of(model, tokens, level)
        if level and allowed is not None:
            logits_V = torch.where(allowed, logits_V, -torch.inf)
        tokens.append(draw(logits_V, tokens, sampling, generator))
    return tokens[len(prompt) :]


@pytest.mark.parametrize("name", ["mtp1", "mtp10"])
def test_fused_generations_equal_the_reference(load_golden: Any, name: str) -> None:
    model, golden = load_golden(name)
    engine = Engine(model)
    for case in golden["generations"]:
        ids = engine.generate(case["prompt"], case["mtp_inference_mode"], case["max_new_tokens"])
        assert ids == case["output"], case["mtp_inference_mode"]


@pytest.mark.parametrize("name", ["mtp1", "mtp10"])
def test_goldens_in_a_batch_equal_the_reference(load_golden: Any, name: str) -> None:
    model, golden = load_golden(name)
    engine = Engine(model)
    by_schedule: dict[tuple[int, ...], list[Any]] = {}
    for case in golden["generations"]:
        by_schedule.setdefault(tuple(case["mtp_inference_mode"]), []).append(case)
    for schedule, cases in by_schedule.items():
        prompts = [case["prompt"] for case in cases] * 2
        found = engine.generate_batch(prompts, schedule, cases[0]["max_new_tokens"])
        assert found == [case["output"] for case in cases] * 2


@pytest.mark.parametrize("schedule", SCHEDULE_LISTS)
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(seed=3),
        Sampling(temperature=0.7, top_k=9, seed=4),
        Sampling(temperature=1.3, top_p=0.6, repetition_penalty=1.4, seed=5),
        Sampling(temperature=0, repetition_penalty=1.7),
    ],
)
def test_sampling_equals_a_plain_loop_with_the_same_seed(
    make_model: Any, schedule: list[int], sampling: Sampling
) -> None:
    model = make_model()
    ids = Engine(model).generate(PROMPTS[0], schedule, 24, sampling=sampling)
    assert ids == plain_loop(model, PROMPTS[0], schedule, 24, sampling, None)


def test_another_seed_is_another_answer(make_model: Any) -> None:
    engine = Engine(make_model())
    one, other = (engine.generate([7], [1, 3], 30, sampling=Sampling(seed=seed)) for seed in (1, 2))
    assert one != other


@pytest.mark.parametrize("schedule", SCHEDULE_LISTS)
@pytest.mark.parametrize("sampling", [None, Sampling(temperature=0.9, top_p=0.8, seed=11)])
def test_constrained_modules_say_audio_words_only_and_the_backbone_anything(
    make_model: Any, schedule: list[int], sampling: Sampling | None
) -> None:
    model = make_model()
    words = AudioWords(first=30, count=12, others=(2, 60))
    allowed = torch.zeros(model.config.vocab_size, dtype=torch.bool)
    allowed[words.ids(model.config.vocab_size)] = True
    ids = Engine(model, audio_words=words).generate(
        PROMPTS[2], schedule, 40, sampling=sampling, constrained=True
    )
    assert ids == plain_loop(model, PROMPTS[2], schedule, 40, sampling or Sampling(temperature=0), allowed)


@pytest.mark.parametrize("schedule", SCHEDULE_LISTS)
@pytest.mark.parametrize("sampling", [None, Sampling(temperature=0.8, top_k=20, seed=6)])
def test_a_batch_equals_one_at_a_time_and_each_ends_on_its_own(
    make_model: Any, schedule: list[int], sampling: Sampling | None
) -> None:
    engine = Engine(make_model())
    alone = [engine.generate(prompt, schedule, 30, sampling=sampling) for prompt in PROMPTS]
    assert engine.generate_batch(PROMPTS, schedule, 30, sampling=sampling) == alone
    # Ends that strike at different times: a token of the middle of each answer.
    ends = {answer[at] for answer, at in zip(alone, (3, 25, 11, 17), strict=True)}
    ended = [engine.generate(prompt, schedule, 30, ends, sampling=sampling) for prompt in PROMPTS]
    assert len({len(answer) for answer in ended}) > 1
    assert engine.generate_batch(PROMPTS, schedule, 30, ends, sampling=sampling) == ended


def test_each_of_a_batch_may_be_sampled_in_its_own_way(make_model: Any) -> None:
    engine = Engine(make_model())
    ways = [None, Sampling(seed=1), Sampling(temperature=0.5, seed=2), Sampling(temperature=0)]
    alone = [
        engine.generate(prompt, [1, 3], 20, sampling=way) for prompt, way in zip(PROMPTS, ways, strict=True)
    ]
    assert engine.generate_batch(PROMPTS, [1, 3], 20, sampling=ways) == alone


def test_no_prompts_have_no_answers(make_model: Any) -> None:
    assert Engine(make_model()).generate_batch([], [1, 0], 4) == []


def test_decoding_from_a_model_follows_its_training(make_model: Any) -> None:
    model = make_model()
    before = generate(model, [1, 2], [1, 3], 20)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.5)
    assert generate(model, [1, 2], [1, 3], 20) == Engine(model).generate([1, 2], [1, 3], 20) != before


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda engine: engine.generate([1], [1, 0], 4, constrained=True), "without audio words"),
        (lambda engine: engine.generate_batch([[1], []], [1, 0], 4), "prompt 1: the prompt is empty"),
        (lambda engine: engine.generate_batch([[1] * 120, [1]], [1, 0], 9), "prompt 0: .*128 positions"),
        (lambda engine: engine.generate_batch([[1]], [1, 0], 4, sampling=[]), "0 samplings for 1 prompts"),
        (lambda engine: Sampling(temperature=-1.0), "temperature is -1.0, but must be at least 0"),
        (lambda engine: Sampling(top_p=0.0), "top_p is 0.0"),
        (lambda engine: Sampling(top_k=-1), "top_k is -1"),
        (lambda engine: Sampling(repetition_penalty=0.0), "repetition_penalty is 0.0"),
    ],
)
def test_faults_of_a_request_are_named(make_model: Any, call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(Engine(make_model()))


def test_audio_words_outside_of_the_vocabulary_are_refused(make_model: Any) -> None:
    engine = Engine(make_model(), audio_words=AudioWords(first=60, count=5, others=()))
    with pytest.raises(ValueError, match="from 60 to 64, but the vocabulary has 64 words"):
        engine.generate([1], [1, 1], 4, constrained=True)


def test_a_model_without_modules_cannot_boost(make_model: Any) -> None:
    engine = Engine(make_model(modules=0))
    assert len(engine.generate([1], [1, 0], 4)) == 4
    with pytest.raises(ValueError, match="takes 10 MCTP steps in a row, but the model has 0 modules"):
        engine.stream([1], [1, 10, 4, 10], 4)


def test_a_thousand_generations_leave_memory_where_it_was() -> None:
    # In a process of its own: what other tests leave behind, and when it is collected, is not of interest.
    roots = [str(Path(__file__).parents[depth]) for depth in (1, 2)]
    said = subprocess.run(
        [sys.executable, "-m", "many_generations", "1000"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(roots)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    grown_kib, tensors, decoders = map(int, said.split())
    assert (tensors, decoders) == (0, 0)
    # The allocator's own unrest is some 5,000, for 1,000 as for 8,000 generations; caches that stay would be 33,000.
    assert grown_kib < 16_384
