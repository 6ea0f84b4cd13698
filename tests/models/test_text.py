"""Interleaving and text tokenizers give the reference's ids, and importing the package costs nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import BPE, WordLevel
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

import models
from models import (
    extend_model,
    extend_text_tokenizer,
    interleave,
    load_text_tokenizer,
    make_byte_tokenizer,
)
from models.errors import ModelError
from models.text_tokenizers import SPECIAL_TOKENS, audio_token


def test_interleaving_equals_the_reference(goldens: Path) -> None:
    for case in json.loads((goldens / "interleave.json").read_text()):
        ids = interleave(
            case["text"], case["audio"], case["ratio"], case["begin_of_audio"], case["end_of_audio"]
        )
        assert ids == case["expected"], (case["ratio"], len(case["text"]), len(case["audio"]))


@given(
    text=st.lists(st.integers(0, 99), max_size=60),
    audio=st.lists(st.integers(100, 199), max_size=60),
    ratio=st.lists(st.tuples(st.integers(1, 6), st.integers(3, 9)), min_size=1, max_size=3),
)
def test_interleaving_loses_and_reorders_nothing(
    text: list[int], audio: list[int], ratio: list[tuple[int, int]]
) -> None:
    ids = interleave(text, audio, [count for pair in ratio for count in pair], -1, -2)
    assert [token for token in ids if 0 <= token < 100] == text
    assert [token for token in ids if token >= 100] == audio
    assert ids.count(-1) == ids.count(-2)


@pytest.mark.parametrize("ratio", [[], [1], [1, 10, 4], [0, 10], [1, 2]])
def test_a_malformed_ratio_is_refused(ratio: list[int]) -> None:
    with pytest.raises(ValueError, match="must be pairs"):
        interleave([1], [2], ratio, 3, 4)


def test_the_byte_tokenizer_extended_equals_the_reference_s(goldens: Path) -> None:
    ours = json.loads(extend_text_tokenizer(make_byte_tokenizer(), 512).backend_tokenizer.to_str())
    theirs = json.loads((goldens / "rows_tokenizer.json").read_text())
    for part in ("model", "added_tokens", "pre_tokenizer", "decoder", "normalizer"):
        assert ours[part] == theirs[part], part


# Behind the 151,643 words of Qwen2.5's vocabulary, in its order.
QWEN_ADDED = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
    "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>",
    "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>",
)  # fmt: skip


def test_qwen_s_vocabulary_extended_has_upstream_s_ids(tmp_path: Path) -> None:
    alphabet = sorted(ByteLevel.alphabet())
    words = [*alphabet, *(f"word{number}" for number in range(151_643 - len(alphabet)))]
    tokenizer = Tokenizer(BPE(vocab={word: index for index, word in enumerate(words)}, merges=[]))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(list(QWEN_ADDED))
    published = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    published_ids = published.get_vocab()
    assert len(published_ids) == 151_665
    extended = extend_text_tokenizer(published, 16_384)
    extended.save_pretrained(tmp_path)
    again = load_text_tokenizer(tmp_path)
    for one in (extended, again):
        assert one.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"]) == [151_644, 151_645]
        assert one.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == list(range(151_665, 151_685))
        assert one.convert_tokens_to_ids(["<|begin_of_audio|>", "<|end_of_audio|>", "<|audio|>"]) == [
            151_674,
            151_675,
            151_684,
        ]
        assert one("<|audio_0|><|audio_16383|>").input_ids == [151_685, 168_068]
        assert len(one) == 168_069
    config = Qwen2Config(
        vocab_size=152_064, hidden_size=4, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1,
    )  # fmt: skip
    source = Qwen2ForCausalLM(config)
    source.save_pretrained(tmp_path / "qwen")
    grown = extend_model(
        tmp_path / "qwen", 0, vocabulary_size=len(extended), text_vocabulary=len(published_ids)
    )
    assert grown.config.vocab_size == 168_072  # rows of upstream's published embedding
    matrix = grown.model.embed_tokens.weight
    assert torch.equal(matrix[:151_665], source.model.embed_tokens.weight[:151_665])
    # The 399 rows behind Qwen's last token are none that audio_0 to audio_378 begin with.
    assert not torch.equal(matrix[151_685:152_064], source.model.embed_tokens.weight[151_685:])


def test_text_of_any_script_survives_the_byte_tokenizer() -> None:
    tokenizer = make_byte_tokenizer()
    text = "Größe 上海 🎙 <|im_end|>\n"
    ids = tokenizer(text).input_ids
    assert max(ids) < 259
    assert ids[-2] == tokenizer.eos_token_id
    assert tokenizer.decode(ids) == text


def test_an_extended_tokenizer_survives_the_disk_and_a_second_extension(tmp_path: Path) -> None:
    extend_text_tokenizer(make_byte_tokenizer(), 16).save_pretrained(tmp_path)
    again = extend_text_tokenizer(tmp_path, 16)
    assert len(again) == 259 + len(SPECIAL_TOKENS) + 16
    assert again("a<|audio_15|><|audio|>").input_ids[1:] == [259 + 20 + 15, 259 + 19]
    assert again.convert_tokens_to_ids(audio_token(0)) == 279


@pytest.mark.parametrize("codes", [8, 15])
def test_fewer_codes_than_a_tokenizer_has_already_are_refused(codes: int) -> None:
    tokenizer = extend_text_tokenizer(make_byte_tokenizer(), 16)
    with pytest.raises(ValueError, match=f"more audio tokens than the {codes}"):
        extend_text_tokenizer(tokenizer, codes)


def test_a_vocabulary_in_another_order_is_refused() -> None:
    tokenizer = make_byte_tokenizer()
    tokenizer.add_tokens([audio_token(0)])
    with pytest.raises(ValueError, match="consecutive"):
        extend_text_tokenizer(tokenizer, 16)


def test_a_tokenizer_without_chat_markers_or_a_directory_without_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no text tokenizer"):
        extend_text_tokenizer(tmp_path, 16)
    plain = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0})))
    with pytest.raises(ModelError, match=r"lacks \['<\|im_start\|>'"):
        extend_text_tokenizer(plain, 16)


def test_every_exported_name_resolves() -> None:
    for name in models.__all__:
        assert getattr(models, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        models.nothing  # noqa: B018 - the access is the test


def test_importing_the_package_pulls_in_no_torch() -> None:
    code = "import sys, models, models.tokenizers; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
