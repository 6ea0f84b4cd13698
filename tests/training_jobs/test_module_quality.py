"""Figures of modules equal plain loops over single tokens, however the rows are read together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from plain_decoding import logits_of
from transformers import AutoTokenizer

from models import MctpConfig, MctpForCausalLM, load_audio_tokenizer
from training_jobs.evaluation_rows import EvaluationError, held_out_rows
from training_jobs.held_out_replies import held_out_replies, quality_of_modules
from training_jobs.module_quality import measure
from training_jobs.rows import IGNORED
from validation.lake import Lake

AUDIO = range(20, 36)
MODULES = 3
RATIO = (1, 10, 4, 10)


@pytest.fixture
def model() -> MctpForCausalLM:
    torch.manual_seed(0)
    model = MctpForCausalLM(
        MctpConfig(
            vocab_size=40,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2 + MODULES,
            num_nextn_predict_layers=MODULES,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=64,
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, 1.0 if parameter.ndim == 1 else 0.0, 0.2)
        # Few words ever win, so that levels agree now and then.
        model.lm_head.weight[[7, 25, 30]] *= 8
    return model.eval()


def _rows() -> list[tuple[list[int], list[int]]]:
    generator = torch.Generator().manual_seed(1)
    rows = []
    for length, first in ((9, 4), (3, 2), (14, 1), (6, 5), (5, 5)):
        ids = torch.randint(0, 40, (length,), generator=generator).tolist()
        rows.append((ids, [IGNORED] * first + ids[first:]))
    return rows


def _plainly(model: Any, level: int, kind: str) -> tuple[int, list[bool], list[bool], list[float]]:
    """Labels, and for each whether the level agrees, whether it is right, and its loss."""
    agreed, right, nats = [], [], []
    for ids, labels in _rows():
        for place in range(level + 1, len(ids)):
            if labels[place] == IGNORED or (ids[place] in AUDIO) != (kind == "audio"):
                continue
            # Given all tokens before the place, level l speaks from l rows before the last.
            logits_V = logits_of(model, ids[:place], level)
            choice = int(logits_V.argmax())
            agreed.append(choice == int(logits_of(model, ids[:place], 0).argmax()))
            right.append(choice == ids[place])
            nats.append(-float(logits_V.log_softmax(dim=-1)[ids[place]]))
    return len(nats), agreed, right, nats


@pytest.mark.parametrize("window_tokens", [1, 16, 1000])
def test_figures_equal_a_plain_loop(model: Any, window_tokens: int) -> None:
    found = measure(model, iter(_rows()), AUDIO, window_tokens)
    assert [one.level for one in found.levels[::2]] == ["backbone", "module_0", "module_1", "module_2"]
    for place, one in enumerate(found.levels):
        labels, agreed, right, nats = _plainly(model, place // 2, one.kind)
        assert one.labels == labels > 0
        assert one.loss == pytest.approx(sum(nats) / labels, rel=1e-5)
        assert one.accuracy == pytest.approx(sum(right) / labels)
        assert one.agreement == (pytest.approx(sum(agreed) / labels) if place > 1 else None)
    agreements = [one.agreement for one in found.levels if one.agreement is not None]
    assert any(0 < share < 1 for share in agreements), agreements


def test_losses_are_those_of_the_forward_pass(model: Any) -> None:
    ids, labels = _rows()[2]
    wanted = model(torch.tensor([ids]), labels=torch.tensor([labels]))
    found = measure(model, [(ids, labels)], AUDIO).levels
    for level, loss in enumerate([wanted.backbone_loss, *wanted.module_losses]):
        both = found[2 * level : 2 * level + 2]
        total = sum(one.labels * (one.loss or 0.0) for one in both)
        assert total / sum(one.labels for one in both) == pytest.approx(float(loss), rel=1e-5)


def test_a_kind_without_labels_has_no_figures(model: Any) -> None:
    found = measure(model, [([1, 2, 3, 4, 5, 6], [IGNORED, 2, 3, 4, 5, 6])], AUDIO)
    silent = [one for one in found.levels if one.kind == "audio"]
    assert all((one.labels, one.agreement, one.accuracy, one.loss) == (0, None, None, None) for one in silent)
    assert not any("audio" in name for name in found.metrics())
    assert "| module 2 | 2 |" in found.to_markdown() and found.to_markdown().endswith("| 0 | – | – | – |")


def test_modules_that_know_their_rows_agree_with_the_backbone(trained: Any) -> None:
    lake, digest = Lake(trained.lake), load_audio_tokenizer(trained.tokenizer_dir).digest
    scored = held_out_rows(lake, ["words"], digest, 9, seed=0).rows
    found, too_long = quality_of_modules(lake, scored, digest, trained.model_dir, RATIO)
    assert too_long == 0
    assert {one.agreement for one in found.levels if one.level != "backbone" and one.labels} == {1.0}
    assert {one.accuracy for one in found.levels if one.labels} == {1.0}
    assert all(one.labels for one in found.levels if one.level == "backbone")


def test_rows_longer_than_the_model_are_counted_and_missing_tokens_named(trained: Any) -> None:
    lake, digest = Lake(trained.lake), load_audio_tokenizer(trained.tokenizer_dir).digest
    scored = held_out_rows(lake, ["words"], digest, 9, seed=0).rows
    tokenizer = AutoTokenizer.from_pretrained(trained.model_dir)
    rows, too_long = held_out_replies(lake, scored, digest, tokenizer, RATIO, positions=512)
    assert (len(rows), too_long) == (18, 0)
    middle = sorted(len(ids) for ids, _ in rows)[9]
    fitting, too_long = held_out_replies(lake, scored, digest, tokenizer, RATIO, middle)
    assert fitting == [row for row in rows if len(row[0]) <= middle] and len(fitting) + too_long == 18
    assert too_long
    with pytest.raises(EvaluationError, match="has no tokens of tokenizer ffff"):
        held_out_replies(lake, scored, "ffff", tokenizer, RATIO, positions=40)
