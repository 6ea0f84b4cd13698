"""A model of the tiny profile's size with random weights: what the benchmarks of this folder time."""

from __future__ import annotations

from models import MctpConfig, MctpForCausalLM, extend_text_tokenizer, make_byte_tokenizer
from models.extension import VOCABULARY_MULTIPLE
from training_jobs.profile import load_profile
from training_jobs.spec import load_stage


def make_model() -> MctpForCausalLM:
    """Random weights in the sizes of the tiny profile."""
    profile = load_profile("tiny")
    sizes, modules = profile.base_model.make, load_stage("sft", "tiny").mctp_modules
    assert sizes is not None
    words = len(extend_text_tokenizer(make_byte_tokenizer(), profile.audio_tokenizer.codes))
    config = MctpConfig(
        vocab_size=-(-words // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE,
        hidden_size=sizes.hidden_size,
        intermediate_size=sizes.intermediate_size,
        num_hidden_layers=sizes.layers + modules,
        num_attention_heads=sizes.attention_heads,
        num_key_value_heads=sizes.key_value_heads,
        max_position_embeddings=sizes.max_position_embeddings,
        num_nextn_predict_layers=modules,
    )
    return MctpForCausalLM(config).eval()
