"""A model's weights, made ready for decoding once and then read by every generation.

Shapes: N rows, D width, V vocabulary.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from models.decode_layers import Layer, Positions, RmsNorm
from models.errors import ModelError
from models.matrices import on_huge_pages, projection
from models.mctp import MctpForCausalLM
from models.words import AudioWords, ConstrainedHead, Head


class DecodeWeights:
    """Layers, projections, norms, embedding and heads of an MCTP model.

    Args:
        model: whose weights these are; it is not kept, nor changed.
        fused: copy matrices that read the same rows into one. Without it nothing is copied: the weights are the
            model's own, and follow when it is trained.
        bits: of the layers' and projections' weights; ``None`` leaves them as they are.
        audio_words: for steps of modules that say audio only.

    Raises:
        ModelError: for ``bits`` without ``fused``, or audio words outside the vocabulary.
    """

    @torch.no_grad()
    def __init__(
        self, model: MctpForCausalLM, fused: bool, bits: int | None, audio_words: AudioWords | None
    ) -> None:
        if bits is not None and not fused:
            raise ModelError(f"weights of {bits} bits are copies: they need fused matrices")
        self.config = model.config
        backbone = model.config.backbone_layers
        layers = [Layer(layer, fused, bits) for layer in model.model.layers]
        self.backbone, self.modules = layers[:backbone], layers[backbone:]
        self.norm = RmsNorm(model.model.norm)
        self.projections = [projection((layer,), fused, bits) for layer in model.mtp_projs]
        self.embed_norms = [RmsNorm(norm) for norm in model.mtp_embed_norms]
        self.hidden_norms = [RmsNorm(norm) for norm in model.mtp_hidden_norms]
        self.embedding_VD = model.model.embed_tokens.weight.detach()
        head_VD = model.lm_head.weight.detach()
        if fused:
            is_tied = head_VD.data_ptr() == self.embedding_VD.data_ptr()
            head_VD = on_huge_pages([head_VD])
            self.embedding_VD = head_VD if is_tied else self.embedding_VD
        self.head = Head(head_VD)
        self._head_VD, self._audio_words = head_VD, audio_words
        self._rotary = model.model.rotary_emb
        self._positions: Positions | None = None

    @cached_property
    def audio_head(self) -> ConstrainedHead:
        """Over the audio words only.

        Raises:
            ModelError: where none were given.
        """
        if self._audio_words is None:
            raise ModelError(
                "constrained decoding was asked for, but the engine was made without audio words"
            )
        return ConstrainedHead(self._head_VD, self._audio_words.ids(self._head_VD.shape[0]))

    def module_inputs(self, index: int, embedded_ND: Tensor, states_ND: Tensor) -> Tensor:
        """What module ``index``'s layer reads: the next tokens' embeddings with the states of the level below."""
        joined = torch.cat(
            (self.embed_norms[index](embedded_ND), self.hidden_norms[index](states_ND)), dim=-1
        )
        return self.projections[index](joined)

    def positions(self, capacity: int) -> Positions:
        """Rotary tables of at least ``capacity`` positions; those of the longest sequence so far are kept."""
        if self._positions is None or len(self._positions.cos_C1d) < capacity:
            self._positions = Positions(self._rotary, self._head_VD, capacity, self.config)
        return self._positions
