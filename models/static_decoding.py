"""A sequence decoded by steps of static shape (:mod:`models.static_steps`), and memory that sequences take in turns.

Shapes: T new rows, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models.decoding import Decoder
from models.sampling import Chooser
from models.static_steps import CAPACITY_STEP, MOST_ROWS, StaticSteps

if TYPE_CHECKING:
    from models.decode_weights import DecodeWeights


class StaticDecoder(Decoder):
    """A sequence whose short steps are replayed; the reading of its prompt is not."""

    def __init__(
        self, steps: StaticSteps, prompt_ids: Sequence[int], chooser: Chooser, is_constrained: bool
    ) -> None:
        self._steps, self._is_constrained = steps, is_constrained
        steps.clear()
        super().__init__(steps.memory, 0, prompt_ids, chooser, is_constrained)

    @torch.inference_mode()
    def backbone_step(self) -> int:
        """As every decoder's."""
        start, end = self.backbone_rows, len(self.tokens)
        if end - start > MOST_ROWS:
            return super().backbone_step()
        self.backbone_rows = end
        return self._replayed(0, start, end - start)

    @torch.inference_mode()
    def module_step(self, index: int) -> int:
        """As every decoder's."""
        start, end = self.module_rows[index], self._rows_below(index)
        assert end + index + 1 == len(self.tokens), "a module runs right after the level below it"
        if end - start > MOST_ROWS:
            return super().module_step(index)
        self.module_rows[index] = end
        return self._replayed(index + 1, start, end - start)

    def _replayed(self, level: int, first: int, count: int) -> int:
        greedy, steps = self.chooser.is_plain, self._steps
        steps.run(level, first, count, greedy=greedy, constrained=self._is_constrained and level > 0)
        if not greedy:
            return self.append(self.chooser(steps.logits_V, self.tokens))
        token = int(steps.chosen_1)
        self.tokens.append(token)  # its embedding is there already
        return token

    def take_unread(self, index: int) -> Tensor:
        """The hidden states that module ``index`` is to read next."""
        states_CD: Tensor = self._steps.states_LCD[index]
        return states_CD[self.module_rows[index] : self._rows_below(index)]

    def finish(self, hidden_TD: Tensor, level: int) -> Tensor:
        """The final norm, kept for the next module."""
        normed_TD = self.weights.norm(hidden_TD)
        if level < self.memory.modules:
            end = self._rows_below(level)
            self._steps.states_LCD[level, end - len(normed_TD) : end] = normed_TD
        return normed_TD

    def _rows_below(self, index: int) -> int:
        """How many rows the level has that module ``index`` reads."""
        return self.module_rows[index - 1] if index else self.backbone_rows


class StaticPool:
    """Steps that were recorded, lent to one generation at a time and kept for the next."""

    def __init__(self, weights: DecodeWeights) -> None:
        self._weights = weights
        self._idle: dict[tuple[int, int], list[StaticSteps]] = {}

    @contextmanager
    def lent(self, tokens: int, modules: int) -> Iterator[StaticSteps]:
        """Room for a sequence of that many tokens."""
        capacity = -(-tokens // CAPACITY_STEP) * CAPACITY_STEP
        idle = self._idle.setdefault((capacity, modules), [])
        steps = idle.pop() if idle else StaticSteps(self._weights, capacity, modules)
        try:
            yield steps
        finally:
            idle.append(steps)
