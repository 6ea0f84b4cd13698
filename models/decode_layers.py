"""The layers' arithmetic in decoding: matrices, norms and attention over preallocated keys and values.

It is written out on the weights themselves instead of calling the modules: a step of a small model, and of any model
on a GPU, costs mostly the launching of its operations, and this takes fewer of them.

Shapes: N new rows of all sequences, D width, H query heads, G key/value heads, C rows of a cache, d width of a head,
B sequences, T new rows of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from models.config import MctpConfig
from models.matrices import Projection, projection
from models.quantized import Weights


class RmsNorm:
    """Qwen2's norm. In float32 by way of the vector's length; in 16 bit by PyTorch's, which keeps float32 inside."""

    def __init__(self, norm: Any) -> None:
        self.weight_D = norm.weight.detach()
        self.epsilon = norm.variance_epsilon
        # On a CPU rms_norm falls apart into seven operations; these are five.
        self.by_length = norm.weight.dtype == torch.float32 and norm.weight.device.type == "cpu"
        self.epsilon_1 = self.weight_D.new_full((1,), self.epsilon)
        self.share = 1 / norm.weight.numel()

    def __call__(self, hidden_ND: Tensor) -> Tensor:
        """Each row at unit root mean square, times the weight."""
        if not self.by_length:
            return torch.rms_norm(hidden_ND, self.weight_D.shape, self.weight_D, self.epsilon)
        length_N1 = torch.linalg.vector_norm(hidden_ND, dim=-1, keepdim=True)
        scale_N1 = torch.addcmul(self.epsilon_1, length_N1, length_N1, value=self.share).rsqrt_()
        return (hidden_ND * scale_N1).mul_(self.weight_D)


class Cache(Protocol):
    """Keys and values of one layer, and attention over them."""

    def attend(self, queries_NHd: Tensor, rows: Any, scaling: float) -> Tensor:
        """What the queries of ``rows`` take from all rows up to their own, (N, H * d)."""

    def put(self, keys_NGd: Tensor, values_NGd: Tensor, rows: Any) -> None:
        """Keep the keys and values of new rows."""


class Layer:
    """A decoder layer's weights."""

    def __init__(self, layer: Any, fused: bool, weights: Weights = "float") -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.head_width, self.scaling = attention.head_dim, attention.scaling
        self.kv_heads = attention.k_proj.out_features // self.head_width
        self.query_heads = attention.q_proj.out_features // self.head_width
        inputs = (attention.q_proj, attention.k_proj, attention.v_proj)
        self.query_key_value: Projection = projection(inputs, fused, weights)
        self.output = projection((attention.o_proj,), fused, weights)
        self.gate_up = projection((mlp.gate_proj, mlp.up_proj), fused, weights)
        self.down = projection((mlp.down_proj,), fused, weights)
        self.activation = mlp.act_fn
        self.before, self.after = RmsNorm(layer.input_layernorm), RmsNorm(layer.post_attention_layernorm)

    def __call__(self, hidden_ND: Tensor, cache: Cache, rows: Any, newest_only: bool = False) -> Tensor:
        """The layer's output for new rows, whose keys and values are put into the cache.

        Args:
            hidden_ND: their hidden states.
            cache: of this layer.
            rows: where they stand.
            newest_only: whether the output is wanted for the last new row of each sequence only.
        """
        joined = self.query_key_value(self.before(hidden_ND)).view(hidden_ND.shape[0], -1, self.head_width)
        turned, kept = self.query_heads + self.kv_heads, joined[:, self.query_heads + self.kv_heads :]
        rotated_Nhd = rows.rotate(joined[:, :turned])
        cache.put(rotated_Nhd[:, self.query_heads :], kept, rows)
        queries_NHd = rotated_Nhd[:, : self.query_heads]
        if newest_only and rows.count > 1:
            last = slice(rows.count - 1, None, rows.count)
            queries_NHd, hidden_ND, rows = queries_NHd[last], hidden_ND[last], rows.newest()
        # A new tensor each time: what is added in place is never the caller's.
        hidden_ND = self.output(cache.attend(queries_NHd, rows, self.scaling)).add_(hidden_ND)
        gate, up = self.gate_up(self.after(hidden_ND)).chunk(2, dim=-1)
        return hidden_ND.add_(self.down(self.activation(gate).mul_(up)))


class Positions:
    """Rotary tables for ``capacity`` positions, which all layers share."""

    def __init__(self, rotary: Any, like: Tensor, capacity: int, config: MctpConfig) -> None:
        cos_1Cd, sin_1Cd = rotary(like, torch.arange(capacity, device=like.device)[None])
        half = sin_1Cd.shape[-1] // 2
        # The first half carries the minus sign of the rotation, so that a roll and a sum do the rest.
        signed_1Cd = torch.cat((-sin_1Cd[..., :half], sin_1Cd[..., half:]), dim=-1)
        self.cos_C1d = cos_1Cd[0][:, None]
        self.sin_C1d = signed_1Cd[0][:, None]
        self.groups = config.num_attention_heads // config.num_key_value_heads


class Rows:
    """New rows ``start`` to ``end`` of one sequence: their rotation, and who of them looks at whom."""

    def __init__(self, positions: Positions, start: int, end: int) -> None:
        self.start, self.end, self.count = start, end, end - start
        self._positions = positions
        self.cos_N1d, self.sin_N1d = positions.cos_C1d[start:end], positions.sin_C1d[start:end]
        # Added to the scores, and repeated for every query head of a group; one row needs none.
        self.mask: Tensor | None = None
        if start and self.count > 1:
            hidden = self.cos_N1d.new_full((self.count, end), -torch.inf).triu_(start + 1)
            self.mask = hidden.repeat(positions.groups, 1)

    def newest(self) -> Rows:
        """The last of them alone."""
        return Rows(self._positions, self.end - 1, self.end)

    def rotate(self, heads_Nhd: Tensor) -> Tensor:
        """Queries or keys at their positions."""
        return rotated(heads_Nhd, self.cos_N1d, self.sin_N1d)


class BatchRows:
    """The same number of new rows for each of B sequences, which may stand at different positions."""

    def __init__(self, positions: Positions, starts: Sequence[int], count: int) -> None:
        device = positions.cos_C1d.device
        self._positions, self._starts = positions, starts
        self.sequences, self.count, self.end = len(starts), count, max(starts) + count
        starts_B1 = torch.tensor(starts, device=device)[:, None]
        places_BT = starts_B1 + torch.arange(count, device=device)
        self.places_N = places_BT.flatten()
        self.sequences_N = torch.arange(len(starts), device=device).repeat_interleave(count)
        self.cos_N1d, self.sin_N1d = positions.cos_C1d[self.places_N], positions.sin_C1d[self.places_N]
        hidden_BTC = torch.arange(self.end, device=device) > places_BT[..., None]
        mask_BTC = positions.cos_C1d.new_zeros(hidden_BTC.shape).masked_fill_(hidden_BTC, -torch.inf)
        self.mask_B1QC = mask_BTC.repeat(1, positions.groups, 1)[:, None]

    def newest(self) -> BatchRows:
        """The last of each sequence."""
        return BatchRows(self._positions, [start + self.count - 1 for start in self._starts], 1)

    def rotate(self, heads_Nhd: Tensor) -> Tensor:
        """Queries or keys at their positions."""
        return rotated(heads_Nhd, self.cos_N1d, self.sin_N1d)


def rotated(heads_Nhd: Tensor, cos_N1d: Tensor, sin_N1d: Tensor) -> Tensor:
    """Heads turned by their positions' angles."""
    half = heads_Nhd.shape[-1] // 2
    return torch.addcmul(heads_Nhd * cos_N1d, heads_Nhd.roll(half, dims=-1), sin_N1d)


class SequenceCache:
    """One layer's keys and values of one sequence."""

    def __init__(self, keys_CGd: Tensor, values_CGd: Tensor) -> None:
        self.keys_CGd, self.values_CGd = keys_CGd, values_CGd
        # The same memory in the order that attention wants.
        self.keys_1GCd = keys_CGd.transpose(0, 1)[None]
        self.values_1GCd = values_CGd.transpose(0, 1)[None]

    def put(self, keys_NGd: Tensor, values_NGd: Tensor, rows: Rows) -> None:
        """Keep the keys and values of new rows."""
        self.keys_CGd[rows.start : rows.end] = keys_NGd
        self.values_CGd[rows.start : rows.end] = values_NGd

    def attend(self, queries_NHd: Tensor, rows: Rows, scaling: float) -> Tensor:
        """What the queries take from all rows up to their own, (N, H * d)."""
        count, _, width = queries_NHd.shape
        keys_1GCd, values_1GCd = self.keys_1GCd[:, :, : rows.end], self.values_1GCd[:, :, : rows.end]
        queries_1HTd = queries_NHd.transpose(0, 1)[None]
        if count == rows.end:
            mixed = scaled_dot_product_attention(
                queries_1HTd, keys_1GCd, values_1GCd, is_causal=True, scale=scaling, enable_gqa=True
            )
        else:
            # The heads that share keys become rows of one head: no key is copied, and one row needs no mask.
            queries = queries_1HTd.reshape(1, keys_1GCd.shape[1], -1, width)
            mixed = scaled_dot_product_attention(
                queries, keys_1GCd, values_1GCd, attn_mask=rows.mask, scale=scaling
            )
        return mixed.reshape(-1, count, width).transpose(0, 1).reshape(count, -1)


class BatchCache:
    """One layer's keys and values of the first sequences of a batch."""

    def __init__(self, keys_BCGd: Tensor, values_BCGd: Tensor) -> None:
        self.keys_BCGd, self.values_BCGd = keys_BCGd, values_BCGd

    def put(self, keys_NGd: Tensor, values_NGd: Tensor, rows: BatchRows) -> None:
        """Keep the keys and values of new rows."""
        places = (rows.sequences_N, rows.places_N)
        self.keys_BCGd.index_put_(places, keys_NGd)
        self.values_BCGd.index_put_(places, values_NGd)

    def attend(self, queries_NHd: Tensor, rows: BatchRows, scaling: float) -> Tensor:
        """What the queries take from all rows of their sequence up to their own, (N, H * d)."""
        sequences, count, width = rows.sequences, rows.count, queries_NHd.shape[-1]
        keys_BGCd = self.keys_BCGd[:sequences, : rows.end].transpose(1, 2)
        values_BGCd = self.values_BCGd[:sequences, : rows.end].transpose(1, 2)
        queries_BHTd = queries_NHd.view(sequences, count, -1, width).transpose(1, 2)
        queries = queries_BHTd.reshape(sequences, keys_BGCd.shape[1], -1, width)
        mixed = scaled_dot_product_attention(
            queries, keys_BGCd, values_BGCd, attn_mask=rows.mask_B1QC, scale=scaling
        )
        heads_BHTd = mixed.reshape(sequences, -1, count, width)
        return heads_BHTd.transpose(1, 2).reshape(sequences * count, -1)
