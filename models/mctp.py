"""The MCTP language model: a Qwen2 backbone and N modules that each predict one token further ahead.

Module k (0-based) at position t reads the hidden state of module k-1 (of the backbone for k = 0) at t and the
embedding of token t+k+1, and predicts token t+k+2:

    h_k = norm(layer_{L-N+k}(proj_k(cat[embed_norm_k(embedding), hidden_norm_k(h_{k-1})])))

with the backbone's final norm and head (VITA-Audio, arXiv 2505.03739). Tensor names are upstream's.

Shapes: B rows, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from transformers.models.qwen2.modeling_qwen2 import Qwen2Model, Qwen2PreTrainedModel, Qwen2RMSNorm

from models.config import MctpConfig
from models.errors import ModelError
from models.losses import LossHead, labelled
from models.packed_attention import attention_arguments
from models.packing import IGNORED, segments_of, shifted_labels


@dataclass(frozen=True)
class MctpOutput:
    """What a forward pass gives.

    Attributes:
        loss: scalar to train on, ``None`` without labels.
        logits_BTV: the backbone's logits, ``None`` with labels: losses are computed at labelled positions only.
        hidden_BTD: the backbone's normed hidden states.
        backbone_loss: the backbone's share of the loss, detached; ``None`` where it is left out.
        module_losses: each module's cross entropy before weighting, detached scalars; empty without labels.
        label_losses: for the backbone, unless it is left out, and for each module the cross entropies in nats of the
            N labels that it has to predict, detached, in the order of rows and tokens.
        labelled_BT: for each of these levels, True at the positions that predict the labels. The backbone predicts
            the label one token later, module k the one k+2 tokens later.
    """

    loss: Tensor | None
    logits_BTV: Tensor | None
    hidden_BTD: Tensor
    backbone_loss: Tensor | None
    module_losses: list[Tensor]
    label_losses: list[Tensor] = field(default_factory=list)
    labelled_BT: list[Tensor] = field(default_factory=list)


class MctpForCausalLM(Qwen2PreTrainedModel):
    """Qwen2 with MCTP modules, for training and teacher forcing; decoding is in :mod:`models.generation`."""

    config_class = MctpConfig
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}  # noqa: RUF012 - transformers' protocol

    def __init__(self, config: MctpConfig) -> None:
        super().__init__(config)
        width, modules = config.hidden_size, config.num_nextn_predict_layers
        # Holds embedding, layers (the modules' too), final norm and rotary table; its own forward is never called.
        self.model = Qwen2Model(config)
        self.lm_head = LossHead(width, config.vocab_size)
        self.mtp_projs = nn.ModuleList([nn.Linear(2 * width, width, bias=False) for _ in range(modules)])
        self.mtp_embed_norms = nn.ModuleList(
            [Qwen2RMSNorm(width, eps=config.rms_norm_eps) for _ in range(modules)]
        )
        self.mtp_hidden_norms = nn.ModuleList(
            [Qwen2RMSNorm(width, eps=config.rms_norm_eps) for _ in range(modules)]
        )
        self.gradient_checkpointing = False
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        labels: Tensor | None = None,
        position_ids: Tensor | None = None,
        module_weights: Sequence[float] | None = None,
    ) -> MctpOutput:
        """Run the backbone, and the modules if there are labels.

        Args:
            input_ids: token ids of shape (B, T).
            labels: ids of shape (B, T), not shifted, -100 where nothing is to be learned.
            position_ids: of shape (B, T). A position that does not follow on the one before starts a new sample,
                which neither sees nor predicts anything of another (with ``reference_boundaries`` in the
                configuration, it predicts as upstream's does). Without them a row is one sample.
            module_weights: factors on the modules' cross entropies, one each; all 1 if not given.

        Returns:
            ``loss`` = the backbone's cross entropy + mean over modules of theirs × ``mtp_loss_weight``. The
            backbone's is left out where the head is frozen and there are modules to train.

        Raises:
            ModelError: if the attention implementation cannot keep samples apart on this device and in this type, or
                there is not one weight for each module.
        """
        modules = len(self.mtp_projs)
        if module_weights is not None and len(module_weights) != modules:
            raise ModelError(f"{len(module_weights)} module_weights for {modules} MCTP modules")
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)
        segments_BT = segments_of(position_ids)
        attention = attention_arguments(segments_BT, self.config._attn_implementation, self.dtype)
        # Stages that train the modules only leave the backbone frozen: it then needs neither graph nor checkpoints.
        layers = self.model.layers[: self.config.backbone_layers]
        is_training = torch.is_grad_enabled() and _trains(self.model.embed_tokens, *layers, self.model.norm)
        with torch.set_grad_enabled(is_training):
            embeddings_BTD = self.model.embed_tokens(input_ids)
            attention["position_embeddings"] = self.model.rotary_emb(embeddings_BTD, position_ids)
            hidden_BTD = embeddings_BTD
            for layer in layers:
                hidden_BTD = layer(hidden_BTD, **attention)
            hidden_BTD = self.model.norm(hidden_BTD)
        if labels is None:
            return MctpOutput(None, self.lm_head(hidden_BTD), hidden_BTD, None, [])

        has_backbone = modules == 0 or _trains(self.lm_head)
        crossing = self.config.reference_boundaries
        levels, targets_BT, weights = [], [], []
        if has_backbone:
            targets_BT.append(shifted_labels(labels, segments_BT, 1, crossing))
            levels.append(labelled(hidden_BTD, targets_BT[0]))
            weights.append(1.0)
        state_BTD = hidden_BTD
        for index in range(modules):
            state_BTD = self._module_states(index, embeddings_BTD, state_BTD, attention)
            targets_BT.append(shifted_labels(labels, segments_BT, index + 2, crossing))
            # At once, not when all are there: the backward pass then makes one full gradient at a time of them.
            levels.append(labelled(state_BTD, targets_BT[-1]))
            own = 1.0 if module_weights is None else module_weights[index]
            weights.append(own * self.config.mtp_loss_weight / modules)
        hidden, targets_N = zip(*levels, strict=True)
        loss, *label_losses = self.lm_head(*hidden, targets_N=targets_N, weights=weights)
        means = [one.sum() / max(1, len(one)) for one in label_losses]
        return MctpOutput(
            loss=loss,
            logits_BTV=None,
            hidden_BTD=hidden_BTD,
            backbone_loss=means[0] if has_backbone else None,
            module_losses=means[has_backbone:],
            label_losses=label_losses,
            labelled_BT=[one != IGNORED for one in targets_BT],
        )

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Take the weights of another head, such as one for more words."""
        head = LossHead(new_embeddings.in_features, new_embeddings.out_features, device="meta")
        head.weight = new_embeddings.weight
        self.lm_head = head

    def _set_gradient_checkpointing(self, *args: Any, **kwargs: Any) -> None:
        """As the base class's, but a module is checkpointed as a whole, its layer not once more within."""
        super()._set_gradient_checkpointing(*args, **kwargs)
        for layer in self.model.layers[self.config.backbone_layers :]:
            layer.gradient_checkpointing = False

    def _module_states(
        self, index: int, embeddings_BTD: Tensor, state_BTD: Tensor, attention: dict[str, Any]
    ) -> Tensor:
        """Module ``index``'s normed hidden states, row t for hidden state t and token t+index+1.

        With gradient checkpointing only its inputs are kept: the embeddings, which all modules share, and the states.
        """
        arguments = (index, embeddings_BTD, state_BTD, attention)
        if self.gradient_checkpointing and self.training:
            states: Tensor = self._gradient_checkpointing_func(self._run_module, *arguments)
            return states
        return self._run_module(*arguments)

    def _run_module(
        self, index: int, embeddings_BTD: Tensor, state_BTD: Tensor, attention: dict[str, Any]
    ) -> Tensor:
        """The module itself.

        All T rows are kept, so that shapes, mask and rotary table are the backbone's: rotation enters attention as a
        difference of positions only. What is rolled round from the row's start lands in the last rows, which carry
        no label and which no earlier row can see.
        """
        next_BTD = embeddings_BTD.roll(-(index + 1), dims=1)
        joined = torch.cat(
            (self.mtp_embed_norms[index](next_BTD), self.mtp_hidden_norms[index](state_BTD)), dim=-1
        )
        layer = self.model.layers[self.config.backbone_layers + index]
        normed: Tensor = self.model.norm(layer(self.mtp_projs[index](joined), **attention))
        return normed


def _trains(*parts: nn.Module) -> bool:
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
