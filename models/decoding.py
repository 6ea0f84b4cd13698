"""One sequence being decoded: preallocated key and value caches, and a step of the backbone or of a module.

Shapes: N new rows, D width, C rows of a cache, G key/value heads, d width of a head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models.decode_layers import Rows, SequenceCache
from models.sampling import Chooser

if TYPE_CHECKING:
    from models.decode_weights import DecodeWeights


class Memory:
    """Room for ``sequences`` sequences of ``capacity`` tokens: keys and values of every layer used, and embeddings."""

    def __init__(self, weights: DecodeWeights, sequences: int, capacity: int, modules: int) -> None:
        self.weights, self.capacity, self.modules = weights, capacity, modules
        self.positions = weights.positions(capacity)
        embedding_VD = weights.embedding_VD
        used = [*weights.backbone, *weights.modules[:modules]]
        shape = (sequences, capacity, used[0].kv_heads, used[0].head_width)
        # Zeros, and not what happened to lie there: a row that is hidden still takes part, with a share of nothing.
        self._kept = embedding_VD.new_zeros(2, len(used), *shape)
        self.keys_BCGd, self.values_BCGd = (list(kept) for kept in self._kept)
        self.embedded_BCD = embedding_VD.new_empty(sequences, capacity, embedding_VD.shape[1])

    def clear(self) -> None:
        """Forget all keys and values."""
        self._kept.zero_()

    def caches(self, sequence: int) -> list[SequenceCache]:
        """Of one sequence: a cache per layer."""
        return [
            SequenceCache(keys[sequence], values[sequence])
            for keys, values in zip(self.keys_BCGd, self.values_BCGd, strict=True)
        ]

    def move(self, source: int, target: int, tokens: int) -> None:
        """Copy the first ``tokens`` rows of one sequence over another."""
        for block in (*self.keys_BCGd, *self.values_BCGd, self.embedded_BCD):
            block[target, :tokens] = block[source, :tokens]


class Decoder:
    """A sequence and everything computed for it so far.

    Attributes:
        tokens: the prompt's ids and those decided since.
        backbone_rows: how many of them the backbone has read.
        module_rows: rows that each module has in its cache.
        unread: for each module, hidden states of the level below that it has not read yet.
    """

    @torch.inference_mode()
    def __init__(
        self,
        memory: Memory,
        sequence: int,
        prompt_ids: Sequence[int],
        chooser: Chooser,
        is_constrained: bool = False,
    ) -> None:
        """Put the prompt where ``memory`` has room for this sequence.

        Args:
            memory: of the batch, or of this sequence alone.
            sequence: its number there.
            prompt_ids: what stands before the answer.
            chooser: of its tokens.
            is_constrained: whether modules say audio words only.
        """
        self.weights, self.memory, self.chooser = memory.weights, memory, chooser
        self.module_head = self.weights.audio_head if is_constrained else self.weights.head
        self.tokens: list[int] = []
        self.backbone_rows = 0
        self.module_rows = [0] * memory.modules
        self.unread: list[list[Tensor]] = [[] for _ in range(memory.modules)]
        self._rows: Rows | None = None
        self.place(sequence)
        self.extend(prompt_ids)

    def place(self, sequence: int) -> None:
        """Take what lies in ``memory`` under this number for this sequence's."""
        caches, backbone = self.memory.caches(sequence), len(self.weights.backbone)
        self.backbone_caches, self.module_caches = caches[:backbone], caches[backbone:]
        self.embedded_CD = self.memory.embedded_BCD[sequence]

    @torch.inference_mode()
    def extend(self, ids: Sequence[int]) -> None:
        """Append tokens that were not decided here, such as the next turn's."""
        start, end = len(self.tokens), len(self.tokens) + len(ids)
        assert end <= self.memory.capacity, (end, self.memory.capacity)
        embedding_VD = self.weights.embedding_VD
        self.embedded_CD[start:end] = embedding_VD[torch.tensor(ids, device=embedding_VD.device)]
        self.tokens += ids

    def steps(self, backbone: int, modules: int) -> Iterator[int]:
        """So many steps of the backbone, then one of each of the first modules; gives each token as it is decided."""
        for _ in range(backbone):
            yield self.backbone_step()
        for index in range(modules):
            yield self.module_step(index)

    @torch.inference_mode()
    def backbone_step(self) -> int:
        """Let the backbone read all tokens that it has not seen, and append its choice for the next."""
        normed_ND = self.read_backbone()
        return self.append(self.choose(normed_ND, level=0))

    @torch.inference_mode()
    def module_step(self, index: int) -> int:
        """Let module ``index`` read all rows of the level below that it has not seen, and append its choice."""
        normed_ND = self.read_module(index)
        return self.append(self.choose(normed_ND, level=index + 1))

    def read_backbone(self) -> Tensor:
        """Normed hidden states of the tokens that the backbone has not seen until now."""
        start, end = self.backbone_rows, len(self.tokens)
        hidden_ND, rows = self.embedded_CD[start:end], self._new_rows(start, end)
        for layer, cache in zip(self.weights.backbone, self.backbone_caches, strict=True):
            hidden_ND = layer(hidden_ND, cache, rows)
        self.backbone_rows = end
        return self.finish(hidden_ND, level=0)

    def read_module(self, index: int) -> Tensor:
        """Normed hidden states of module ``index`` at the rows that it has not seen until now.

        Row t takes the hidden state at t and the embedding of token t+index+1; the last of them is the newest token.
        """
        states_ND = self.take_unread(index)
        start = self.module_rows[index]
        end, shift = start + states_ND.shape[0], index + 1
        assert end + shift == len(self.tokens), "a module runs right after the level below it"
        hidden_ND = self.weights.module_inputs(
            index, self.embedded_CD[start + shift : end + shift], states_ND
        )
        # Nobody reads the last module's rows, except for the newest one here.
        is_last = shift == self.memory.modules
        rows = self._new_rows(start, end)
        hidden_ND = self.weights.modules[index](hidden_ND, self.module_caches[index], rows, is_last)
        self.module_rows[index] = end
        return self.finish(hidden_ND, level=shift)

    def take_unread(self, index: int) -> Tensor:
        """The hidden states that module ``index`` is to read next, and has read then."""
        unread = self.unread[index]
        # Mostly one piece; several small ones where the level below went ahead by some steps.
        states_ND = unread[0] if len(unread) == 1 else torch.cat(unread)
        unread.clear()
        return states_ND

    def finish(self, hidden_ND: Tensor, level: int) -> Tensor:
        """The final norm, which the next module reads too."""
        normed_ND = self.weights.norm(hidden_ND)
        if level < self.memory.modules:
            self.unread[level].append(normed_ND)
        return normed_ND

    def choose(self, normed_ND: Tensor, level: int) -> int:
        """The token that follows the last row."""
        head = self.module_head if level else self.weights.head
        if self.chooser.is_plain:
            return head.greedy(normed_ND[-1:])[0]
        return self.chooser(head.logits(normed_ND[-1:])[0], self.tokens)

    def append(self, token: int) -> int:
        """Add a token that was decided."""
        self.embedded_CD[len(self.tokens)] = self.weights.embedding_VD[token]
        self.tokens.append(token)
        return token

    def _new_rows(self, start: int, end: int) -> Rows:
        """All layers of a step, and all modules of a round, mostly add the same rows: the last answer is kept."""
        if self._rows is None or (self._rows.start, self._rows.end) != (start, end):
            self._rows = Rows(self.memory.positions, start, end)
        return self._rows
