"""Interleaving and text tokenizers give the reference's ids, and importing the package costs nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

import models
from models import extend_text_tokenizer, interleave, make_byte_tokenizer
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
