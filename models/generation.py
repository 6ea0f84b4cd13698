"""Decoding straight from a model, for a single generation; :class:`models.engine.Engine` is for many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from models.engine import EndTokens, Engine
from models.mctp import MctpForCausalLM
from models.schedules import SCHEDULES as SCHEDULES


def generate(
    model: MctpForCausalLM,
    prompt_ids: Sequence[int],
    schedule: Sequence[int],
    max_new_tokens: int,
    eos_token_id: EndTokens = None,
) -> list[int]:
    """The new ids that :func:`stream` gives, as a list."""
    return list(stream(model, prompt_ids, schedule, max_new_tokens, eos_token_id))


def stream(
    model: MctpForCausalLM,
    prompt_ids: Sequence[int],
    schedule: Sequence[int],
    max_new_tokens: int,
    eos_token_id: EndTokens = None,
) -> Iterator[int]:
    """Decode greedily on the model's own weights, as :meth:`models.engine.Engine.stream` does.

    Raises:
        ModelError: at the call, for what is wrong with prompt or schedule.
    """
    return Engine(model, fused=False).stream(prompt_ids, schedule, max_new_tokens, eos_token_id)
