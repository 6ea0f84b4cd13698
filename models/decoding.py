"""One sequence being decoded: preallocated key and value caches, and a step of the backbone or of a module.

The layers' arithmetic is written out on their own weights instead of calling the modules: a step of a small model,
and of any model on a GPU, costs mostly the launching of its operations, and this takes fewer of them.

Shapes: T new rows, D width, H query heads, G key/value heads, C rows of a cache, d width of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from models.mctp import MctpForCausalLM


class Linear:
    """A linear layer on the matrix itself, without ``nn.Linear``'s detours."""

    def __init__(self, layer: Any) -> None:
        self.weight_IO = layer.weight.t()
        self.bias_O = layer.bias

    def __call__(self, hidden_TI: Tensor) -> Tensor:
        """The layer's output."""
        if self.bias_O is None:
            return torch.mm(hidden_TI, self.weight_IO)
        return torch.addmm(self.bias_O, hidden_TI, self.weight_IO)


class RmsNorm:
    """Qwen2's norm. In float32 by way of the vector's length; in 16 bit by PyTorch's, which keeps float32 inside."""

    def __init__(self, norm: Any) -> None:
        self.weight_D = norm.weight
        self.epsilon = norm.variance_epsilon
        # On a CPU rms_norm falls apart into seven operations; these are five.
        self.by_length = norm.weight.dtype == torch.float32 and norm.weight.device.type == "cpu"
        self.epsilon_1 = norm.weight.new_full((1,), self.epsilon)
        self.share = 1 / norm.weight.numel()

    def __call__(self, hidden_TD: Tensor) -> Tensor:
        """Each row at unit root mean square, times the weight."""
        if not self.by_length:
            return torch.rms_norm(hidden_TD, self.weight_D.shape, self.weight_D, self.epsilon)
        length_T1 = torch.linalg.vector_norm(hidden_TD, dim=-1, keepdim=True)
        scale_T1 = torch.addcmul(self.epsilon_1, length_T1, length_T1, value=self.share).rsqrt_()
        return (hidden_TD * scale_T1).mul_(self.weight_D)


class Positions:
    """What the layers share: rotary tables, and the mask of the rows that a step adds."""

    def __init__(self, model: MctpForCausalLM, capacity: int) -> None:
        weight = model.lm_head.weight
        positions_1C = torch.arange(capacity, device=weight.device)[None]
        cos_1Cd, sin_1Cd = model.model.rotary_emb(weight, positions_1C)
        half = sin_1Cd.shape[-1] // 2
        # The first half carries the minus sign of the rotation, so that a roll and a sum do the rest.
        signed_1Cd = torch.cat((-sin_1Cd[..., :half], sin_1Cd[..., half:]), dim=-1)
        self.cos_C1d = cos_1Cd[0][:, None]
        self.sin_C1d = signed_1Cd[0][:, None]
        self.groups = model.config.num_attention_heads // model.config.num_key_value_heads
        self._rows: tuple[int, int] | None = None
        self._answer: tuple[Tensor, Tensor, Tensor | None]

    def rows(self, start: int, end: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """For new rows ``start`` to ``end``: cosines, sines, and who of them looks at whom of the rows before ``end``.

        The mask is added to the scores and repeated for every query head of a group; one row needs none. All layers
        of a step, and all modules of a round, mostly add the same rows: the last answer is kept.
        """
        if self._rows != (start, end):
            mask = None
            if start and end - start > 1:
                hidden = self.cos_C1d.new_full((end - start, end), -torch.inf).triu_(start + 1)
                mask = hidden.repeat(self.groups, 1)
            self._rows = (start, end)
            self._answer = (self.cos_C1d[start:end], self.sin_C1d[start:end], mask)
        return self._answer


class CachedLayer:
    """A decoder layer with room for the keys and values of ``capacity`` rows."""

    def __init__(self, layer: Any, positions: Positions, capacity: int) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.positions = positions
        self.head_width, self.scaling = attention.head_dim, attention.scaling
        self.query, self.key = Linear(attention.q_proj), Linear(attention.k_proj)
        self.value, self.output = Linear(attention.v_proj), Linear(attention.o_proj)
        self.gate, self.up, self.down = Linear(mlp.gate_proj), Linear(mlp.up_proj), Linear(mlp.down_proj)
        self.activation = mlp.act_fn
        self.before, self.after = RmsNorm(layer.input_layernorm), RmsNorm(layer.post_attention_layernorm)
        weight = attention.k_proj.weight
        self.kv_heads = weight.shape[0] // self.head_width
        self.keys_CGd = weight.new_empty(capacity, self.kv_heads, self.head_width)
        self.values_CGd = torch.empty_like(self.keys_CGd)
        # The same memory in the order that attention wants.
        self.keys_1GCd = self.keys_CGd.transpose(0, 1)[None]
        self.values_1GCd = self.values_CGd.transpose(0, 1)[None]

    def __call__(self, hidden_TD: Tensor, start: int, newest_only: bool = False) -> Tensor:
        """The layer's output for rows that follow the ``start`` rows cached; on request for the last of them only."""
        attended_TD = self._attend(self.before(hidden_TD), start, newest_only)
        hidden_TD = self.output(attended_TD).add_(hidden_TD[-1:] if newest_only else hidden_TD)
        normed_TD = self.after(hidden_TD)
        return hidden_TD.add_(self.down(self.activation(self.gate(normed_TD)).mul_(self.up(normed_TD))))

    def _attend(self, normed_TD: Tensor, start: int, newest_only: bool) -> Tensor:
        rows, width, kv_heads = normed_TD.shape[0], self.head_width, self.kv_heads
        end = start + rows
        cos_T1d, sin_T1d, mask = self.positions.rows(start, end)
        joined = torch.cat((self.query(normed_TD), self.key(normed_TD)), dim=-1)
        heads_Thd = joined.view(rows, -1, width)
        rotated_Thd = torch.addcmul(heads_Thd * cos_T1d, heads_Thd.roll(width // 2, dims=-1), sin_T1d)
        self.keys_CGd[start:end] = rotated_Thd[:, -kv_heads:]
        self.values_CGd[start:end] = self.value(normed_TD).view(rows, kv_heads, width)
        keys_1GCd, values_1GCd = self.keys_1GCd[:, :, :end], self.values_1GCd[:, :, :end]
        if newest_only:
            rotated_Thd, rows, mask = rotated_Thd[-1:], 1, None
        queries_1HTd = rotated_Thd[:, :-kv_heads].transpose(0, 1)[None]
        if rows == end:
            mixed = scaled_dot_product_attention(
                queries_1HTd, keys_1GCd, values_1GCd, is_causal=True, scale=self.scaling, enable_gqa=True
            )
        else:
            # The heads that share keys become rows of one head: no key is copied, and one row needs no mask.
            queries = queries_1HTd.reshape(1, kv_heads, -1, width)
            mixed = scaled_dot_product_attention(
                queries, keys_1GCd, values_1GCd, attn_mask=mask, scale=self.scaling
            )
        return mixed.reshape(-1, rows, width).transpose(0, 1).reshape(rows, -1)


class Decoder:
    """A sequence and everything computed for it so far.

    Attributes:
        tokens: the prompt's ids and those decided since.
    """

    @torch.inference_mode()
    def __init__(self, model: MctpForCausalLM, prompt_ids: list[int], capacity: int, modules: int) -> None:
        """Make room for ``capacity`` tokens and the first ``modules`` modules, and put the prompt there."""
        config = model.config
        positions = Positions(model, capacity)
        used = model.model.layers[: config.backbone_layers + modules]
        layers = [CachedLayer(layer, positions, capacity) for layer in used]
        self.backbone, self.modules = layers[: config.backbone_layers], layers[config.backbone_layers :]
        self.norm, self.head_VD = RmsNorm(model.model.norm), model.lm_head.weight
        self.projections = [Linear(projection) for projection in model.mtp_projs]
        self.embed_norms = [RmsNorm(norm) for norm in model.mtp_embed_norms]
        self.hidden_norms = [RmsNorm(norm) for norm in model.mtp_hidden_norms]
        self.embedding_VD = model.model.embed_tokens.weight
        self.embedded_CD = self.embedding_VD.new_empty(capacity, config.hidden_size)
        self.tokens: list[int] = []
        # Rows that the backbone, and each module, has in its caches.
        self.backbone_rows = 0
        self.module_rows = [0] * len(self.modules)
        # For each module, hidden states of the level below that it has not read yet.
        self.unread: list[list[Tensor]] = [[] for _ in self.modules]
        ids_T = torch.tensor(prompt_ids, device=self.embedding_VD.device)
        self.embedded_CD[: len(prompt_ids)] = self.embedding_VD[ids_T]
        self.tokens += prompt_ids

    @torch.inference_mode()
    def backbone_step(self) -> int:
        """Let the backbone read all tokens that it has not seen, and append its choice for the next."""
        start, end = self.backbone_rows, len(self.tokens)
        hidden_TD = self.embedded_CD[start:end]
        for layer in self.backbone:
            hidden_TD = layer(hidden_TD, start)
        self.backbone_rows = end
        return self._decide(hidden_TD, level=0)

    @torch.inference_mode()
    def module_step(self, index: int) -> int:
        """Let module ``index`` read all rows of the level below that it has not seen, and append its choice.

        Row t takes the hidden state at t and the embedding of token t+index+1; the last of them is the newest token.
        """
        unread = self.unread[index]
        states_TD = unread[0] if len(unread) == 1 else torch.cat(unread)
        unread.clear()
        start = self.module_rows[index]
        end = start + states_TD.shape[0]
        shift = index + 1
        assert end + shift == len(self.tokens), "a module runs right after the level below it"
        normed_TD = self.embed_norms[index](self.embedded_CD[start + shift : end + shift])
        joined = torch.cat((normed_TD, self.hidden_norms[index](states_TD)), dim=-1)
        # Nobody reads the last module's rows, except for the newest one here.
        is_last = shift == len(self.modules)
        hidden_TD = self.modules[index](self.projections[index](joined), start, newest_only=is_last)
        self.module_rows[index] = end
        return self._decide(hidden_TD, level=shift)

    def _decide(self, hidden_TD: Tensor, level: int) -> int:
        normed_TD = self.norm(hidden_TD)
        if level < len(self.modules):
            self.unread[level].append(normed_TD)
        token = int(torch.mv(self.head_VD, normed_TD[-1]).argmax())
        self.embedded_CD[len(self.tokens)] = self.embedding_VD[token]
        self.tokens.append(token)
        return token
