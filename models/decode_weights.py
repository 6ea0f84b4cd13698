"""A model's weights, made ready for decoding once and then read by every generation.

Shapes: N rows, D width, V vocabulary.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from models.config import MctpConfig
from models.decode_layers import Layer, Positions, RmsNorm
from models.errors import ModelError
from models.matrices import projection
from models.mctp import MctpForCausalLM
from models.quantized import Weights
from models.words import AudioWords, ConstrainedHead, Head


class DecodeWeights:
    """Layers, projections, norms, embedding and heads of an MCTP model.

    Args:
        model: whose weights these are; it is not kept, nor changed.
        fused: copy matrices that read the same rows into one. Without it nothing is copied: the weights are the
            model's own, and follow when it is trained.
        audio_words: for steps of modules that say audio only.
        weights: what the matrices are kept in; embedding, norms and biases stay as they are.
    """

    @torch.no_grad()
    def __init__(
        self,
        model: MctpForCausalLM,
        fused: bool,
        audio_words: AudioWords | None,
        weights: Weights = "float",
    ) -> None:
        self.config: MctpConfig = model.config
        backbone = self.config.backbone_layers
        layers = [Layer(layer, fused, weights) for layer in model.model.layers]
        self.backbone, self.modules = layers[:backbone], layers[backbone:]
        self.norm = RmsNorm(model.model.norm)
        self.projections = [projection((layer,), fused, weights) for layer in model.mtp_projs]
        self.embed_norms = [RmsNorm(norm) for norm in model.mtp_embed_norms]
        self.hidden_norms = [RmsNorm(norm) for norm in model.mtp_hidden_norms]
        self.embedding_VD = model.model.embed_tokens.weight.detach()
        self._audio_words, self._weights = audio_words, weights
        self._head_VD = model.lm_head.weight.detach()
        self.head = Head(self._head_VD, weights)
        if weights != "float":
            # Made now, so that the floats of the head need not be kept.
            _ = audio_words and self.audio_head
            del self._head_VD
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
        return ConstrainedHead(self._head_VD, self._audio_words.ids(self.head.vocabulary), self._weights)

    def module_inputs(self, index: int, embedded_ND: Tensor, states_ND: Tensor) -> Tensor:
        """What module ``index``'s layer reads: the next tokens' embeddings with the states of the level below."""
        joined = torch.cat(
            (self.embed_norms[index](embedded_ND), self.hidden_norms[index](states_ND)), dim=-1
        )
        return self.projections[index](joined)

    def positions(self, capacity: int) -> Positions:
        """Rotary tables of at least ``capacity`` positions; those of the longest sequence so far are kept."""
        if self._positions is None or len(self._positions.cos_C1d) < capacity:
            self._positions = Positions(self._rotary, self.embedding_VD, capacity, self.config)
        return self._positions
