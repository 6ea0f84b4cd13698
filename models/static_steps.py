"""Steps of static shape, which a GPU records once as CUDA graphs and replays.

At one row a step's operations take microseconds each, and launching them from Python takes longer than computing them.
A graph launches all of a step's operations at once, but knows only fixed shapes and addresses: where the new rows
stand is therefore a number on the device, keys and values are looked at in their whole capacity, and memory is kept
from one generation to the next.

Without a GPU the same steps run as they are, which the tests use.

Shapes: T new rows, D width, C rows of a cache, H query heads, G key/value heads, d width of a head, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention

from models.decode_layers import Positions, rotated
from models.decoding import Memory

if TYPE_CHECKING:
    from models.decode_weights import DecodeWeights
    from models.words import ConstrainedHead, Head

# Capacities are multiples of this, so that few sets of graphs serve all lengths.
CAPACITY_STEP = 512
# What has more new rows than this (a prompt) runs as it is: its time is arithmetic, its length hardly comes again.
MOST_ROWS = 32
_WARM_UPS = 2


class StaticRows:
    """T new rows, the first of which stands at a place that is known to the device only."""

    def __init__(self, positions: Positions, first_1: Tensor, count: int) -> None:
        self._positions, self._first_1, self.count = positions, first_1, count
        self.places_T = first_1 + torch.arange(count, device=first_1.device)
        self.cos_T1d = positions.cos_C1d.index_select(0, self.places_T)
        self.sin_T1d = positions.sin_C1d.index_select(0, self.places_T)
        self._mask_QC: Tensor | None = None

    @cached_property
    def bounds_2(self) -> Tensor:
        """Where they begin and end among themselves; int32, as the kernel takes it."""
        return torch.arange(2, dtype=torch.int32, device=self.places_T.device) * self.count

    @cached_property
    def used_1(self) -> Tensor:
        """How many rows there are, with these; int32 too."""
        return (self._first_1 + self.count).to(torch.int32)

    def mask(self, capacity: int) -> Tensor:
        """Added to the scores, (T * H / G, C): 0 where a row may look, else -inf; once per query head of a group."""
        if self._mask_QC is None:
            is_hidden_TC = torch.arange(capacity, device=self.places_T.device) > self.places_T[:, None]
            mask_TC = self.cos_T1d.new_zeros(is_hidden_TC.shape).masked_fill_(is_hidden_TC, -torch.inf)
            self._mask_QC = mask_TC.repeat(self._positions.groups, 1)
        return self._mask_QC

    def newest(self) -> StaticRows:
        """The last of them alone."""
        return StaticRows(self._positions, self._first_1 + (self.count - 1), 1)

    def rotate(self, heads_Thd: Tensor) -> Tensor:
        """Queries or keys at their positions."""
        return rotated(heads_Thd, self.cos_T1d, self.sin_T1d)


class StaticCache:
    """One layer's keys and values of one sequence, always looked at in their whole capacity."""

    def __init__(self, keys_CGd: Tensor, values_CGd: Tensor) -> None:
        self.keys_CGd, self.values_CGd = keys_CGd, values_CGd
        self.capacity = keys_CGd.shape[0]
        # PyTorch's kernel for rows of any lengths takes how many there are from the device, and reads no others.
        self.has_kernel = keys_CGd.is_cuda and keys_CGd.dtype in (torch.bfloat16, torch.float16)
        self._bounds_2 = torch.tensor([0, self.capacity], dtype=torch.int32, device=keys_CGd.device)

    def put(self, keys_TGd: Tensor, values_TGd: Tensor, rows: StaticRows) -> None:
        """Keep the keys and values of new rows."""
        self.keys_CGd.index_copy_(0, rows.places_T, keys_TGd)
        self.values_CGd.index_copy_(0, rows.places_T, values_TGd)

    def attend(self, queries_THd: Tensor, rows: StaticRows, scaling: float) -> Tensor:
        """What the queries take from all rows up to their own, (T, H * d)."""
        count, _, width = queries_THd.shape
        if self.has_kernel:
            mixed_THd = varlen_attn(
                queries_THd,
                self.keys_CGd,
                self.values_CGd,
                rows.bounds_2,
                self._bounds_2,
                count,
                self.capacity,
                scale=scaling,
                window_size=(-1, 0),  # causal, counted from the last row used
                enable_gqa=True,
                seqused_k=rows.used_1,
            )
            assert isinstance(mixed_THd, Tensor)
            return mixed_THd.reshape(count, -1)
        keys_1GCd, values_1GCd = (kept.transpose(0, 1)[None] for kept in (self.keys_CGd, self.values_CGd))
        queries = queries_THd.transpose(0, 1).reshape(1, keys_1GCd.shape[1], -1, width)
        mask_QC = rows.mask(self.capacity)
        mixed = scaled_dot_product_attention(
            queries, keys_1GCd, values_1GCd, attn_mask=mask_QC, scale=scaling
        )
        return mixed.reshape(-1, count, width).transpose(0, 1).reshape(count, -1)


class StaticSteps:
    """Memory for one sequence at a time, and the steps over it: each is recorded when it first comes.

    Attributes:
        memory: keys, values and embeddings.
        states_LCD: for each level that a module reads (0 is the backbone), the hidden states of all rows.
        logits_V: of the last step that was not greedy.
        ids_C: the token that each step decided, at its place in the sequence.
    """

    @torch.inference_mode()
    def __init__(self, weights: DecodeWeights, capacity: int, modules: int) -> None:
        self.weights, self.memory = weights, Memory(weights, 1, capacity, modules)
        embedding_VD = weights.embedding_VD
        self.states_LCD = embedding_VD.new_zeros(modules, capacity, embedding_VD.shape[1])
        self.ids_C = torch.zeros(capacity, dtype=torch.long, device=embedding_VD.device)
        self.logits_V = embedding_VD.new_zeros(embedding_VD.shape[0])
        self._first_1 = torch.zeros(1, dtype=torch.long, device=embedding_VD.device)
        blocks = zip(self.memory.keys_BCGd, self.memory.values_BCGd, strict=True)
        self._caches = [StaticCache(keys[0], values[0]) for keys, values in blocks]
        self._steps: dict[tuple[int, int, bool, bool], Callable[[], None]] = {}
        self._pool = torch.cuda.graph_pool_handle() if embedding_VD.is_cuda else None

    @torch.inference_mode()
    def clear(self) -> None:
        """Forget the sequence. A row that is hidden still takes part, with a share of nothing: it must be a number."""
        self.memory.clear()
        self.states_LCD.zero_()

    @torch.inference_mode()
    def run(self, level: int, first: int, count: int, *, greedy: bool, constrained: bool) -> None:
        """Let the backbone (level 0) or module ``level`` - 1 read ``count`` rows from ``first`` on.

        What follows is in ``ids_C``, and its embedding behind the sequence; if not ``greedy``, its logits are in
        ``logits_V`` and nothing is decided.
        """
        self._first_1.fill_(first)
        key = (level, count, greedy, constrained)
        if key not in self._steps:
            self._steps[key] = self._recorded(*key)
        self._steps[key]()

    def _recorded(self, level: int, count: int, greedy: bool, constrained: bool) -> Callable[[], None]:
        def step() -> None:
            self._step(level, count, greedy, constrained)

        if self._pool is None:
            return step
        # A step writes the same over again, so these do no harm; libraries set themselves up meanwhile.
        aside: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UPS):
                step()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            step()
        replay: Callable[[], None] = graph.replay
        return replay

    def _step(self, level: int, count: int, greedy: bool, constrained: bool) -> None:
        weights, embedded_CD = self.weights, self.memory.embedded_BCD[0]
        rows = StaticRows(self.memory.positions, self._first_1, count)
        embedded_TD = embedded_CD.index_select(0, rows.places_T + level)
        if level == 0:
            hidden_TD = embedded_TD
            for layer, cache in zip(weights.backbone, self._caches, strict=False):
                hidden_TD = layer(hidden_TD, cache, rows)
        else:
            states_TD = self.states_LCD[level - 1].index_select(0, rows.places_T)
            hidden_TD = weights.module_inputs(level - 1, embedded_TD, states_TD)
            cache = self._caches[len(weights.backbone) + level - 1]
            hidden_TD = weights.modules[level - 1](hidden_TD, cache, rows, level == self.memory.modules)
        normed_TD = weights.norm(hidden_TD)
        if level < self.memory.modules:
            self.states_LCD[level].index_copy_(0, rows.places_T, normed_TD)
        head: Head | ConstrainedHead = weights.audio_head if constrained and level else weights.head
        if not greedy:
            self.logits_V.copy_(head.logits(normed_TD[-1:])[0])
            return
        self._keep(head.likeliest(normed_TD[-1:]), self._first_1 + (count + level))

    @torch.inference_mode()
    def keep(self, chosen_1: Tensor, place: int) -> None:
        """Have a token, decided elsewhere on the device, at this place of the sequence."""
        self._keep(chosen_1, torch.full_like(chosen_1, place))

    def _keep(self, chosen_1: Tensor, place_1: Tensor) -> None:
        self.ids_C.index_copy_(0, place_1, chosen_1)
        embedded_1D = self.weights.embedding_VD.index_select(0, chosen_1)
        self.memory.embedded_BCD[0].index_copy_(0, place_1, embedded_1D)
