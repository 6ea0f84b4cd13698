"""Greedy decoding by a schedule of backbone and MCTP steps."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import chain, repeat

from models.decoding import Decoder
from models.errors import ModelError
from models.mctp import MctpForCausalLM

# Counts of (backbone steps, MCTP steps) in turn, the last pair repeating.
SCHEDULES: dict[str, list[int]] = {
    "vanilla": [1, 0],
    "balance": [1, 4, 3, 8, 4, 10],
    "boost": [1, 10, 4, 10],
    "turbo": [1, 10],
}


def generate(
    model: MctpForCausalLM,
    prompt_ids: Sequence[int],
    schedule: Sequence[int],
    max_new_tokens: int,
    eos_token_id: int | Collection[int] | None = None,
) -> list[int]:
    """The new ids that :func:`stream` gives, as a list."""
    return list(stream(model, prompt_ids, schedule, max_new_tokens, eos_token_id))


def stream(
    model: MctpForCausalLM,
    prompt_ids: Sequence[int],
    schedule: Sequence[int],
    max_new_tokens: int,
    eos_token_id: int | Collection[int] | None = None,
) -> Iterator[int]:
    """Decode greedily, giving each new id as soon as it is decided.

    Every step decides one token. A backbone step first reads whatever tokens the backbone has not seen; the n-th
    MCTP step after it is module n-1, which likewise reads all rows that it has missed, in one call.

    Args:
        model: its parameters' device and type are used; mode and gradients do not matter.
        prompt_ids: what stands before the answer.
        schedule: alternating counts of backbone and MCTP steps, such as ``[1, 10, 4, 10]``; the last pair repeats.
        max_new_tokens: after how many ids to stop.
        eos_token_id: id or ids after which to stop; that id is given too.

    Raises:
        ModelError: at the call, for an empty or over-long prompt, ids outside the vocabulary, or a schedule that is
            malformed or takes more MCTP steps than there are modules.
    """
    prompt = [int(token) for token in prompt_ids]
    pairs = _pairs(schedule, modules=model.config.num_nextn_predict_layers)
    _check_prompt(prompt, max_new_tokens, model.config.vocab_size, model.config.max_position_embeddings)
    if eos_token_id is None:
        stops: frozenset[int] = frozenset()
    elif isinstance(eos_token_id, int):
        stops = frozenset({eos_token_id})
    else:
        stops = frozenset(eos_token_id)
    capacity = len(prompt) + max_new_tokens
    decoder = Decoder(model, prompt, capacity, modules=max(mctp for _, mctp in pairs))
    return _decide(decoder, pairs, max_new_tokens, stops)


def _decide(
    decoder: Decoder, pairs: list[tuple[int, int]], max_new_tokens: int, stops: frozenset[int]
) -> Iterator[int]:
    decided = 0
    for backbone_steps, mctp_steps in chain(pairs, repeat(pairs[-1])):
        for step in range(backbone_steps + mctp_steps):
            if step < backbone_steps:
                token = decoder.backbone_step()
            else:
                token = decoder.module_step(step - backbone_steps)
            yield token
            decided += 1
            if decided == max_new_tokens or token in stops:
                return


def _pairs(schedule: Sequence[int], modules: int) -> list[tuple[int, int]]:
    counts = list(schedule)
    pairs = list(zip(counts[::2], counts[1::2], strict=False))
    if not pairs or len(counts) % 2 or any(backbone < 1 or mctp < 0 for backbone, mctp in pairs):
        raise ModelError(
            f"schedule {counts} must be pairs of a count of backbone steps of at least 1 and a count of MCTP steps "
            "of at least 0"
        )
    most = max(mctp for _, mctp in pairs)
    if most > modules:
        raise ModelError(
            f"schedule {counts} takes {most} MCTP steps in a row, but the model has {modules} modules"
        )
    return pairs


def _check_prompt(prompt: list[int], max_new_tokens: int, vocabulary: int, limit: int) -> None:
    if not prompt:
        raise ModelError("the prompt is empty: there is nothing to continue")
    if max_new_tokens < 1:
        raise ModelError(f"max_new_tokens is {max_new_tokens}, but must be at least 1")
    if len(prompt) + max_new_tokens > limit:
        raise ModelError(
            f"a prompt of {len(prompt)} tokens and {max_new_tokens} new ones exceed the model's {limit} positions"
        )
    if strangers := [token for token in prompt if not 0 <= token < vocabulary]:
        raise ModelError(f"the prompt has id {strangers[0]}, but the vocabulary ends at {vocabulary - 1}")
