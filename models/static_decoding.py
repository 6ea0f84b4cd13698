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

_UNREAD = -1  # a token that is on the device only


class StaticDecoder(Decoder):
    """A sequence whose short steps are replayed; the reading of its prompt is not."""

    def __init__(
        self, steps: StaticSteps, prompt_ids: Sequence[int], chooser: Chooser, is_constrained: bool
    ) -> None:
        self._steps, self._is_constrained = steps, is_constrained
        steps.clear()
        super().__init__(steps.memory, 0, prompt_ids, chooser, is_constrained)

    def steps(self, backbone: int, modules: int) -> Iterator[int]:
        """As every decoder's, but greedy steps of modules are not waited for one by one.

        What one decides the next one takes on the device; here the ids are read when all are launched.
        """
        if not self.chooser.is_plain:
            yield from super().steps(backbone, modules)
            return
        for _ in range(backbone):
            yield self.backbone_step()
        begin = len(self.tokens)
        for index in range(modules):
            self._launch(index + 1)
        yield from self._read(begin)

    @torch.inference_mode()
    def backbone_step(self) -> int:
        """As every decoder's."""
        return self._step(0)

    @torch.inference_mode()
    def module_step(self, index: int) -> int:
        """As every decoder's."""
        return self._step(index + 1)

    def _step(self, level: int) -> int:
        if self.chooser.is_plain:
            self._launch(level)
            return self._read(len(self.tokens) - 1)[0]
        start, end = self._new(level)
        if end - start > MOST_ROWS:
            return super().module_step(level - 1) if level else super().backbone_step()
        self._has_read(level, end)
        self._steps.run(level, start, end - start, greedy=False, constrained=self._says_audio(level))
        return self.append(self.chooser(self._steps.logits_V, self.tokens))

    @torch.inference_mode()
    def _launch(self, level: int) -> None:
        """Have a token decided; a place is kept for it, and it is on the device alone."""
        start, end = self._new(level)
        if end - start > MOST_ROWS:
            normed_TD = self.read_module(level - 1) if level else self.read_backbone()
            head = self.module_head if level else self.weights.head
            self._steps.keep(head.likeliest(normed_TD[-1:]), len(self.tokens))
        else:
            self._has_read(level, end)
            self._steps.run(level, start, end - start, greedy=True, constrained=self._says_audio(level))
        self.tokens.append(_UNREAD)

    def _read(self, begin: int) -> list[int]:
        """The tokens from one place on; waits for the device."""
        ids: list[int] = self._steps.ids_C[begin : len(self.tokens)].tolist()
        self.tokens[begin:] = ids
        return ids

    def _new(self, level: int) -> tuple[int, int]:
        """From and to which row a level is to read."""
        if level == 0:
            return self.backbone_rows, len(self.tokens)
        end = self._rows_below(level - 1)
        assert end + level == len(self.tokens), "a module runs right after the level below it"
        return self.module_rows[level - 1], end

    def _has_read(self, level: int, end: int) -> None:
        if level:
            self.module_rows[level - 1] = end
        else:
            self.backbone_rows = end

    def _says_audio(self, level: int) -> bool:
        return self._is_constrained and level > 0

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
