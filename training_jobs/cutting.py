"""Conversations that are longer than a row, cut after the last reply that ends within it."""

from __future__ import annotations

from collections.abc import Sequence

from training_jobs.rows import Turn


def cut_at_turn(turns: Sequence[Turn], limit: int) -> Sequence[Turn]:
    """The longest beginning that ends with an assistant's turn and has at most ``limit`` tokens.

    Nothing is left where not even the first reply ends within them: half a reply would teach to stop in the middle.
    """
    tokens, kept = 0, 0
    for number, turn in enumerate(turns, start=1):
        tokens += len(turn.head) + len(turn.body)
        if tokens > limit:
            break
        if turn.is_learnt:
            kept = number
    return turns[:kept]
