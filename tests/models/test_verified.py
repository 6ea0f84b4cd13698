"""Verified decoding gives Vanilla's ids and no others, whatever the modules draft, and counts what it kept."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from plain_decoding import logits_of

from models import Acceptance, AudioWords, Engine

PROMPTS = [[9], [3, 1, 4, 1, 5], [2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2], [7] * 30]
VANILLA = [1, 0]


@pytest.fixture
def make_agreeing(make_model: Any) -> Any:
    """Modules that mostly say what the backbone will: all states are nearly the last token's embedding."""

    def build(noise: float, **options: Any) -> Any:
        model = make_model(**options)
        with torch.no_grad():
            width = model.config.hidden_size
            model.model.embed_tokens.weight.mul_(5)
            for layer in model.model.layers:
                layer.self_attn.o_proj.weight.mul_(noise)
                layer.mlp.down_proj.weight.mul_(noise)
            for projection in model.mtp_projs:
                projection.weight[:, :width] = torch.eye(width)
                projection.weight[:, width:] *= noise
            for norm in (*model.mtp_embed_norms, model.model.norm):
                norm.weight.fill_(1.0)
        return model

    return build


def plain_rounds(model: Any, prompt: list[int], drafts: int, new: int) -> tuple[list[int], Acceptance]:
    """The same, everything computed anew for each token."""
    counted = Acceptance()
    tokens = [*prompt, int(logits_of(model, prompt, 0).argmax())]
    while len(tokens) < len(prompt) + new:
        count = min(drafts, len(prompt) + new - len(tokens) - 1)
        drafted: list[int] = []
        for level in range(1, count + 1):
            drafted.append(int(logits_of(model, tokens + drafted, level).argmax()))
        kept = 0
        while True:
            tokens.append(int(logits_of(model, tokens, 0).argmax()))
            if kept == count or drafted[kept] != tokens[-1]:
                break
            kept += 1
        if count:
            counted.rounds, counted.drafted = counted.rounds + 1, counted.drafted + count
            counted.accepted += kept
    return tokens[len(prompt) :], counted


@pytest.mark.parametrize("name", ["mtp1", "mtp10"])
def test_goldens_equal_the_references_vanilla(load_golden: Any, name: str) -> None:
    model, golden = load_golden(name)
    engine, modules = Engine(model), model.config.num_nextn_predict_layers
    cases = [case for case in golden["generations"] if case["mtp_inference_mode"] == VANILLA]
    assert cases
    for case in cases:
        for drafts in {1, (modules + 1) // 2, modules}:
            ids = engine.generate_verified(case["prompt"], drafts, case["max_new_tokens"])
            assert ids == case["output"], drafts


@pytest.mark.parametrize(("modules", "fused"), [(1, True), (3, False), (7, True)])
@pytest.mark.parametrize("noise", [0.003, 0.2, 1.0])
def test_ids_are_vanillas_whatever_is_drafted(
    make_agreeing: Any, modules: int, fused: bool, noise: float
) -> None:
    engine = Engine(make_agreeing(noise, modules=modules, seed=modules), fused=fused)
    for prompt in PROMPTS:
        vanilla = engine.generate(prompt, VANILLA, 40)
        for drafts in sorted({1, min(2, modules), modules}):
            assert engine.generate_verified(prompt, drafts, 40) == vanilla


@pytest.mark.parametrize("noise", [0.003, 0.2])
def test_drafts_are_those_of_modules_that_saw_kept_tokens_only(make_agreeing: Any, noise: float) -> None:
    # A row left over from a draft that was taken back would leave the ids alone, and spoil the drafts.
    model = make_agreeing(noise, modules=4)
    for prompt in PROMPTS[:3]:
        for drafts in (2, 4):
            found = Acceptance()
            ids = Engine(model).generate_verified(prompt, drafts, 24, acceptance=found)
            assert (ids, found) == plain_rounds(model, prompt, drafts, 24)


@pytest.mark.parametrize(("noise", "low", "high"), [(0.003, 0.99, 1), (0.2, 0.1, 0.4), (1.0, 0, 0.1)])
def test_the_models_here_keep_all_drafts_some_or_hardly_any(
    make_agreeing: Any, noise: float, low: float, high: float
) -> None:
    found = Acceptance()
    Engine(make_agreeing(noise, modules=4)).generate_verified(PROMPTS[1], 4, 40, acceptance=found)
    assert low <= found.accepted / found.drafted <= high


def test_an_end_in_the_middle_of_kept_drafts_ends_there(make_agreeing: Any) -> None:
    engine = Engine(make_agreeing(0.003, modules=5))
    vanilla = engine.generate(PROMPTS[1], VANILLA, 40)
    for at in range(1, 14):
        ended = engine.generate(PROMPTS[1], VANILLA, 40, vanilla[at])
        found = Acceptance()
        assert engine.generate_verified(PROMPTS[1], 5, 40, vanilla[at], acceptance=found) == ended
        # The first token is the backbone's alone; what was drafted beyond the end does not count as kept.
        assert found.accepted <= len(ended) - 1 <= found.accepted + found.rounds


def test_the_limit_is_kept_to_the_token(make_agreeing: Any) -> None:
    engine = Engine(make_agreeing(0.003, modules=5))
    for new in range(1, 12):
        assert engine.generate_verified([5, 4], 5, new) == engine.generate([5, 4], VANILLA, new)


def test_an_answer_may_reach_the_models_last_position(make_agreeing: Any) -> None:
    engine = Engine(make_agreeing(0.2, modules=3))
    assert engine.generate_verified([1] * 108, 3, 20) == engine.generate([1] * 108, VANILLA, 20)


def test_drafts_of_audio_words_only_change_no_id(make_agreeing: Any) -> None:
    engine = Engine(make_agreeing(0.2), audio_words=AudioWords(first=30, count=12, others=(2,)))
    found = Acceptance()
    ids = engine.generate_verified(PROMPTS[2], 3, 60, constrained=True, acceptance=found)
    assert ids == engine.generate(PROMPTS[2], VANILLA, 60)
    assert found.drafted


def test_mean_length_is_tokens_per_pass() -> None:
    assert Acceptance().mean_length is None
    assert Acceptance(rounds=4, drafted=40, accepted=10).mean_length == 3.5


@pytest.mark.parametrize(("drafts", "modules"), [(4, 3), (0, 3), (1, 0)])
def test_more_drafts_than_modules_are_refused_at_the_call(make_model: Any, drafts: int, modules: int) -> None:
    engine = Engine(make_model(modules=modules))
    with pytest.raises(ValueError, match=f"with {drafts} drafts: .*the model has {modules} modules"):
        engine.stream_verified([1], drafts, 4)
