"""Decoding equals the reference token for token, streams, stops where it should, and is worth its modules."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

from models import SCHEDULES, generate, stream


@pytest.mark.parametrize("attention", ["eager", "sdpa", "windowed"])
@pytest.mark.parametrize("name", ["mtp1", "mtp10"])
def test_generations_equal_the_reference(load_golden: Any, name: str, attention: str) -> None:
    model, golden = load_golden(name, attention)
    for case in golden["generations"]:
        ids = generate(model, case["prompt"], case["mtp_inference_mode"], case["max_new_tokens"])
        assert ids == case["output"], case["mtp_inference_mode"]


def test_generations_in_double_precision_equal_the_reference(load_golden: Any) -> None:
    model, golden = load_golden("mtp10")
    model.double()
    case = golden["generations"][-1]
    ids = generate(model, case["prompt"], case["mtp_inference_mode"], case["max_new_tokens"])
    assert ids == case["output"]


def test_vanilla_takes_what_the_forward_pass_rates_highest(make_model: Any) -> None:
    model = make_model()
    ids = generate(model, [3, 1, 4, 1, 5], [1, 0], 20)
    logits_TV = model(torch.tensor([[3, 1, 4, 1, 5, *ids]])).logits_BTV[0]
    assert ids == logits_TV.argmax(dim=-1)[4:-1].tolist()


@pytest.mark.parametrize(
    "sizes", [{"num_key_value_heads": 4}, {"num_key_value_heads": 1}, {"tie_word_embeddings": True}]
)
def test_other_head_layouts_and_tied_embeddings_decode_too(make_model: Any, sizes: dict[str, Any]) -> None:
    model = make_model(**sizes)
    ids = generate(model, [7], [1, 3, 2, 3], 20)
    # Whatever the modules wrote, the tokens of backbone steps follow from everything before them.
    logits_TV = model(torch.tensor([[7, *ids]])).logits_BTV[0]
    backbone_steps = [0, *(at for at in range(4, 20) if at % 5 in (4, 0))]
    assert [ids[at] for at in backbone_steps] == [int(logits_TV[at].argmax()) for at in backbone_steps]


def test_sixteen_bits_decode(make_model: Any) -> None:
    assert len(generate(make_model().bfloat16(), [1, 2, 3], [1, 3], 16)) == 16


def test_decoding_stops_after_an_end_token_which_is_given(make_model: Any) -> None:
    model = make_model()
    ids = generate(model, [1, 2, 3], [1, 3], 16)
    end = ids[5]
    until = ids[: ids.index(end) + 1]
    assert generate(model, [1, 2, 3], [1, 3], 16, eos_token_id=end) == until
    never = next(token for token in range(model.config.vocab_size) if token not in ids)
    assert generate(model, [1, 2, 3], [1, 3], 16, eos_token_id=[never, end]) == until


def test_stream_gives_every_token_as_it_is_decided_and_leaves_gradients_on(make_model: Any) -> None:
    model = make_model()
    tokens = stream(model, [1, 2, 3], [1, 3], 16)
    first = [next(tokens), next(tokens)]
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    assert first + list(tokens) == generate(model, [1, 2, 3], [1, 3], 16)


def test_two_streams_of_one_model_do_not_disturb_each_other(make_model: Any) -> None:
    model = make_model()
    pair = [stream(model, prompt, [1, 3], 12) for prompt in ([1, 2], [9, 8, 7])]
    woven = list(zip(*pair, strict=True))
    assert [one for one, _ in woven] == generate(model, [1, 2], [1, 3], 12)
    assert [two for _, two in woven] == generate(model, [9, 8, 7], [1, 3], 12)


@pytest.mark.parametrize(
    ("prompt", "schedule", "new", "message"),
    [
        ([], [1, 0], 4, "prompt is empty"),
        ([1, 64], [1, 0], 4, "id 64.*ends at 63"),
        ([-1], [1, 0], 4, "id -1"),
        ([1] * 120, [1, 0], 9, "120 tokens and 9 new.*128 positions"),
        ([1], [1, 0], 0, "max_new_tokens is 0"),
        ([1], [1, 10], 4, "takes 10 MCTP steps.*has 3 modules"),
        ([1], [], 4, r"schedule \[\]"),
        ([1], [1, 2, 1], 4, "must be pairs"),
        ([1], [0, 2], 4, "at least 1"),
        ([1], [1, -1], 4, "at least 0"),
    ],
)
def test_faults_of_a_request_are_named_at_the_call(
    make_model: Any, prompt: list[int], schedule: list[int], new: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        stream(make_model(), prompt, schedule, new)


def test_the_prompt_may_fill_all_positions_but_the_answers(make_model: Any) -> None:
    assert len(generate(make_model(), [1] * 120, SCHEDULES["vanilla"], 8)) == 8


def test_a_token_takes_less_time_in_boost_than_in_vanilla(make_model: Any) -> None:
    # The share of backbone layers to modules is that of the 7B model, 28 to 10.
    model = make_model(
        backbone=8,
        modules=3,
        vocab_size=800,
        hidden_size=128,
        intermediate_size=256,
        max_position_embeddings=256,
    )

    seconds: dict[tuple[int, ...], list[float]] = {(1, 0): [], (1, 3): []}
    for _ in range(8):  # in turn, so that a busy machine hits both
        for schedule, times in seconds.items():
            start = time.process_time()
            generate(model, list(range(20)), schedule, 60)
            times.append(time.process_time() - start)
    assert min(seconds[1, 3]) < 0.9 * min(seconds[1, 0])
