"""The MCTP language model: a Qwen2 backbone and N modules that each predict one token further ahead.

Module k (0-based) at position t reads the hidden state of module k-1 (of the backbone for k = 0) at t and the
embedding of token t+k+1, and predicts token t+k+2:

    h_k = norm(layer_{L-N+k}(proj_k(cat[embed_norm_k(embedding), hidden_norm_k(h_{k-1})])))

with the backbone's final norm and head (VITA-Audio, arXiv 2505.03739). Tensor names are upstream's.

Shapes: B rows, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from transformers.models.qwen2.modeling_qwen2 import Qwen2Model, Qwen2PreTrainedModel, Qwen2RMSNorm

from models.config import MctpConfig
from models.losses import labelled_cross_entropy
from models.packing import attention_mask, segments_of, shifted_labels
from models.windowed_attention import Window


@dataclass(frozen=True)
class MctpOutput:
    """What a forward pass gives.

    Attributes:
        loss: scalar to train on, ``None`` without labels.
        logits_BTV: the backbone's logits, ``None`` with labels: losses are computed at labelled positions only.
        hidden_BTD: the backbone's normed hidden states.
        backbone_loss: the backbone's share of the loss, detached; ``None`` where it is left out.
        module_losses: each module's cross entropy before weighting, detached scalars; empty without labels.
    """

    loss: Tensor | None
    logits_BTV: Tensor | None
    hidden_BTD: Tensor
    backbone_loss: Tensor | None
    module_losses: list[Tensor]


class MctpForCausalLM(Qwen2PreTrainedModel):
    """Qwen2 with MCTP modules, for training and teacher forcing; decoding is in :mod:`models.generation`."""

    config_class = MctpConfig
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}  # noqa: RUF012 - transformers' protocol

    def __init__(self, config: MctpConfig) -> None:
        super().__init__(config)
        width, modules = config.hidden_size, config.num_nextn_predict_layers
        # Holds embedding, layers (the modules' too), final norm and rotary table; its own forward is never called.
        self.model = Qwen2Model(config)
        self.lm_head = nn.Linear(width, config.vocab_size, bias=False)
        self.mtp_projs = nn.ModuleList([nn.Linear(2 * width, width, bias=False) for _ in range(modules)])
        self.mtp_embed_norms = nn.ModuleList(
            [Qwen2RMSNorm(width, eps=config.rms_norm_eps) for _ in range(modules)]
        )
        self.mtp_hidden_norms = nn.ModuleList(
            [Qwen2RMSNorm(width, eps=config.rms_norm_eps) for _ in range(modules)]
        )
        self.post_init()

    def forward(
        self, input_ids: Tensor, labels: Tensor | None = None, position_ids: Tensor | None = None
    ) -> MctpOutput:
        """Run the backbone, and the modules if there are labels.

        Args:
            input_ids: token ids of shape (B, T).
            labels: ids of shape (B, T), not shifted, -100 where nothing is to be learned.
            position_ids: of shape (B, T). A position that does not follow on the one before starts a new sample,
                which neither sees nor predicts anything of another. Without them a row is one sample.

        Returns:
            ``loss`` = the backbone's cross entropy + mean over modules of theirs × ``mtp_loss_weight``. The
            backbone's is left out where the head is frozen and there are modules to train.
        """
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)
        segments_BT = segments_of(position_ids)
        mask = attention_mask(segments_BT, self.config._attn_implementation, self.dtype)
        # Stages that train the modules only leave the backbone frozen: it then needs neither graph nor checkpoints.
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._backbone_trains()):
            embeddings_BTD = self.model.embed_tokens(input_ids)
            rotary = self.model.rotary_emb(embeddings_BTD, position_ids)
            hidden_BTD = embeddings_BTD
            for layer in self.model.layers[: self.config.backbone_layers]:
                hidden_BTD = layer(hidden_BTD, attention_mask=mask, position_embeddings=rotary)
            hidden_BTD = self.model.norm(hidden_BTD)
        if labels is None:
            return MctpOutput(None, self.lm_head(hidden_BTD), hidden_BTD, None, [])

        modules = len(self.mtp_projs)
        loss: Tensor | None = None
        backbone_loss: Tensor | None = None
        if modules == 0 or self.lm_head.weight.requires_grad:
            loss = labelled_cross_entropy(hidden_BTD, shifted_labels(labels, segments_BT, 1), self.lm_head)
            backbone_loss = loss.detach()
        module_losses = []
        state_BTD = hidden_BTD
        for index in range(modules):
            state_BTD = self._module_states(index, embeddings_BTD, state_BTD, mask, rotary)
            targets_BT = shifted_labels(labels, segments_BT, index + 2)
            module_loss = labelled_cross_entropy(state_BTD, targets_BT, self.lm_head)
            module_losses.append(module_loss.detach())
            share = module_loss * (self.config.mtp_loss_weight / modules)
            loss = share if loss is None else loss + share
        return MctpOutput(loss, None, hidden_BTD, backbone_loss, module_losses)

    def _module_states(
        self,
        index: int,
        embeddings_BTD: Tensor,
        state_BTD: Tensor,
        mask: Tensor | list[list[Window]] | None,
        rotary: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Module ``index``'s normed hidden states, row t for hidden state t and token t+index+1.

        All T rows are kept, so that shapes, mask and rotary table are the backbone's: rotation enters attention as a
        difference of positions only. What is rolled round from the row's start lands in the last rows, which carry
        no label and which no earlier row can see.
        """
        next_BTD = embeddings_BTD.roll(-(index + 1), dims=1)
        joined = torch.cat(
            (self.mtp_embed_norms[index](next_BTD), self.mtp_hidden_norms[index](state_BTD)), dim=-1
        )
        layer = self.model.layers[self.config.backbone_layers + index]
        output: Tensor = layer(self.mtp_projs[index](joined), attention_mask=mask, position_embeddings=rotary)
        normed: Tensor = self.model.norm(output)
        return normed

    def _backbone_trains(self) -> bool:
        parts = [self.model.embed_tokens, self.model.norm, *self.model.layers[: self.config.backbone_layers]]
        return any(parameter.requires_grad for part in parts for parameter in part.parameters())


def mctp_parameter_names(model: MctpForCausalLM) -> list[str]:
    """Names of the parameters that belong to MCTP modules: their layers, projections and norms."""
    layers = range(model.config.backbone_layers, model.config.num_hidden_layers)
    prefixes = (
        "mtp_projs.",
        "mtp_embed_norms.",
        "mtp_hidden_norms.",
        *(f"model.layers.{n}." for n in layers),
    )
    return [name for name, _ in model.named_parameters() if name.startswith(prefixes)]


AutoModelForCausalLM.register(MctpConfig, MctpForCausalLM)
