"""Sequences of different lengths, decoded side by side; each ends on its own.

A step in which all sequences have the same number of new rows is one pass over the weights for all of them. Only the
first reading of the prompts, by the backbone and by each module, is done one after the other: they differ in length.

Shapes: B sequences, T new rows of each, N = B * T, D width, C rows of a cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat

import torch
from torch import Tensor

from models.decode_layers import BatchCache, BatchRows
from models.decoding import Decoder, Memory


class BatchDecoder:
    """All sequences of one ``memory``, in its order."""

    def __init__(self, memory: Memory, decoders: Sequence[Decoder]) -> None:
        self.memory, self.weights = memory, memory.weights
        # Those that go on, by their place in memory.
        self.active = list(decoders)
        caches = [BatchCache(*block) for block in zip(memory.keys_BCGd, memory.values_BCGd, strict=True)]
        backbone = len(self.weights.backbone)
        self.backbone_caches, self.module_caches = caches[:backbone], caches[backbone:]
        self._rows: tuple[tuple[int, ...], int, BatchRows] | None = None

    @torch.inference_mode()
    def run(self, pairs: Sequence[tuple[int, int]], max_new_tokens: int, stops: frozenset[int]) -> None:
        """Step by the schedule until every sequence has ended."""
        decided = 0
        for backbone_steps, mctp_steps in chain(pairs, repeat(pairs[-1])):
            for step in range(backbone_steps + mctp_steps):
                self._step(max(0, step - backbone_steps + 1))
                decided += 1
                if decided == max_new_tokens:
                    return
                self._let_go(stops)
                if not self.active:
                    return

    def _step(self, level: int) -> None:
        """Let each sequence decide a token at ``level``: 0 for the backbone, k+1 for module k."""
        counts = {self._new_rows(decoder, level) for decoder in self.active}
        if len(counts) > 1 or len(self.active) == 1:
            for decoder in self.active:
                decoder.module_step(level - 1) if level else decoder.backbone_step()
            return
        (count,) = counts
        normed_ND = self._read_module(level - 1, count) if level else self._read_backbone(count)
        newest_BD = normed_ND.view(len(self.active), -1, normed_ND.shape[-1])[:, -1]
        first = self.active[0]
        head = first.module_head if level else self.weights.head
        if all(decoder.chooser.is_plain for decoder in self.active):
            tokens = head.greedy(newest_BD)
        else:
            logits_BV = head.logits(newest_BD)
            tokens = [
                decoder.chooser(logits_V, decoder.tokens)
                for decoder, logits_V in zip(self.active, logits_BV, strict=True)
            ]
        for decoder, token in zip(self.active, tokens, strict=True):
            decoder.append(token)

    @staticmethod
    def _new_rows(decoder: Decoder, level: int) -> int:
        if level == 0:
            return len(decoder.tokens) - decoder.backbone_rows
        return sum(len(states) for states in decoder.unread[level - 1])

    def _read_backbone(self, count: int) -> Tensor:
        starts = [decoder.backbone_rows for decoder in self.active]
        hidden_ND = torch.cat(
            [one.embedded_CD[start : start + count] for one, start in zip(self.active, starts, strict=True)]
        )
        rows = self._rows_from(starts, count)
        for layer, cache in zip(self.weights.backbone, self.backbone_caches, strict=True):
            hidden_ND = layer(hidden_ND, cache, rows)
        for decoder in self.active:
            decoder.backbone_rows += count
        return self._finish(hidden_ND, level=0)

    def _read_module(self, index: int, count: int) -> Tensor:
        starts, shift = [decoder.module_rows[index] for decoder in self.active], index + 1
        states_ND = torch.cat([decoder.take_unread(index) for decoder in self.active])
        embedded_ND = torch.cat(
            [
                one.embedded_CD[start + shift : start + shift + count]
                for one, start in zip(self.active, starts, strict=True)
            ]
        )
        hidden_ND = self.weights.module_inputs(index, embedded_ND, states_ND)
        is_last = shift == self.memory.modules
        rows = self._rows_from(starts, count)
        hidden_ND = self.weights.modules[index](hidden_ND, self.module_caches[index], rows, is_last)
        for decoder in self.active:
            decoder.module_rows[index] += count
        return self._finish(hidden_ND, level=shift)

    def _finish(self, hidden_ND: Tensor, level: int) -> Tensor:
        normed_ND = self.weights.norm(hidden_ND)
        if level < self.memory.modules:
            for decoder, states_TD in zip(self.active, normed_ND.chunk(len(self.active)), strict=True):
                decoder.unread[level].append(states_TD)
        return normed_ND

    def _rows_from(self, starts: Sequence[int], count: int) -> BatchRows:
        """All modules of a round mostly add the same rows: the last answer is kept."""
        if self._rows is None or self._rows[:2] != (tuple(starts), count):
            self._rows = (tuple(starts), count, BatchRows(self.memory.positions, starts, count))
        return self._rows[2]

    def _let_go(self, stops: frozenset[int]) -> None:
        """Take out the sequences that have ended; the last ones move into their places."""
        place = 0
        while place < len(self.active):
            if self.active[place].tokens[-1] not in stops:
                place += 1
                continue
            last = self.active.pop()
            if place < len(self.active):
                self.memory.move(len(self.active), place, len(last.tokens))
                last.place(place)
                self.active[place] = last
