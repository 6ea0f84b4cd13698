"""Hidden states of all levels on tokens that are given, one level at a time.

Shapes: B rows, T tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from models.mctp import MctpForCausalLM
from models.packed_attention import attention_arguments
from models.packing import segments_of


def level_states(model: MctpForCausalLM, input_ids_BT: Tensor, position_ids_BT: Tensor) -> Iterator[Tensor]:
    """Normed hidden states (B, T, D): the backbone's, then each module's, in whose last rows nothing is meant.

    No gradients. Positions part samples as in training; each level is made when it is asked for.

    Raises:
        models.errors.ModelError: if the attention implementation cannot keep samples apart here.
    """
    with torch.inference_mode():
        attention = attention_arguments(
            segments_of(position_ids_BT), model.config._attn_implementation, model.dtype
        )
        embeddings_BTD = model.model.embed_tokens(input_ids_BT)
        attention["position_embeddings"] = model.model.rotary_emb(embeddings_BTD, position_ids_BT)
        states_BTD: Tensor = embeddings_BTD
        for layer in model.model.layers[: model.config.backbone_layers]:
            states_BTD = layer(states_BTD, **attention)
        states_BTD = model.model.norm(states_BTD)
    yield states_BTD
    for index in range(model.config.num_nextn_predict_layers):
        with torch.inference_mode():
            states_BTD = model._run_module(index, embeddings_BTD, states_BTD, attention)
        yield states_BTD
