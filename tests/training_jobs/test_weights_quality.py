"""What 8 bits cost a trained model: its words, its greedy choices and its loss beside those of the floats."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from models import Engine, load_audio_tokenizer
from models.decoding import Decoder, Memory
from models.errors import ModelError
from models.quantized import check_cpu
from training_jobs.decoding_settings import DecodingSettings, decoding_of_tag
from training_jobs.dialogue import SpeechModel
from training_jobs.evaluate import evaluate
from training_jobs.evaluation_rows import held_out_rows
from training_jobs.jobs import EvaluateJob, Tracking
from training_jobs.profile import EvaluationSettings
from training_jobs.reporting import Reporter
from validation.errors import ConfigurationError
from validation.lake import Lake

INT8 = DecodingSettings(weights="int8")


def has_vnni() -> bool:
    try:
        check_cpu()
    except ModelError:
        return False
    return True


needs_vnni = pytest.mark.skipif(not has_vnni(), reason="no VNNI")


@torch.inference_mode()
def logits_of(engine: Engine, ids: list[int]) -> torch.Tensor:
    decoder = Decoder(Memory(engine.weights, 1, len(ids), 0), 0, ids, engine.chooser(None))
    return engine.weights.head.logits(decoder.read_backbone())


@needs_vnni
def test_8_bits_say_what_the_floats_say(trained: Any) -> None:
    plain, small = (SpeechModel.load(trained.model_dir, decoding=one) for one in (DecodingSettings(), INT8))
    digest = load_audio_tokenizer(trained.tokenizer_dir).digest
    rows = held_out_rows(Lake(trained.lake), ["words"], digest, 3, seed=0).rows
    same, losses = [], []
    for row in rows:
        said = [model.reply(row.messages, row.audio_tokens, "boost", 64) for model in (plain, small)]
        if row.task == "asr":
            assert said[0].text == said[1].text == row.reference
        prompt, _ = plain.prompt(row.messages, row.audio_tokens, 64)
        ids = prompt + said[0].token_ids
        float_TV, int8_TV = (logits_of(model.engine, ids)[len(prompt) - 1 : -1] for model in (plain, small))
        same.append((float_TV.argmax(-1) == int8_TV.argmax(-1)).float())
        wanted_T = torch.tensor(said[0].token_ids)
        losses.append(
            [torch.nn.functional.cross_entropy(one, wanted_T).item() for one in (float_TV, int8_TV)]
        )
    assert torch.cat(same).mean() > 0.97
    loss_float, loss_int8 = (sum(column) / len(rows) for column in zip(*losses, strict=True))
    assert 0 < abs(loss_int8 - loss_float) < 0.05


@needs_vnni
def test_an_evaluation_in_8_bits_says_so(
    trained: Any, tracking: Tracking, report: Reporter, tmp_path: Path
) -> None:
    job = EvaluateJob(
        lake=trained.lake,
        corpora=["words"],
        model_dir=trained.model_dir,
        tokenizer_dir=trained.tokenizer_dir,
        ratio=(1, 10, 4, 10),
        settings=EvaluationSettings(max_rows_per_slice=1, max_new_tokens=64, constraint_modes=()),
        decoding=INT8,
        seed=1,
        output_dir=tmp_path,
        tracking=tracking,
    )
    result = evaluate(job, report)
    assert result["decoding"] == {"constrained": False, "weights": "int8"}
    assert result["constraint"] == [] and "Not measured" in result["constraint_markdown"]
    assert result["overall"]["vanilla"]["asr_known_exact"] == 1.0


def test_how_a_version_decodes_is_read_from_its_tag() -> None:
    assert decoding_of_tag(INT8.tag()) == INT8
    assert decoding_of_tag(None) == DecodingSettings()
    assert INT8.words() == "full head in every step, int8 weights"
    prints = {one.fingerprint("a") for one in (INT8, DecodingSettings(), DecodingSettings(constrained=True))}
    assert len(prints | {INT8.fingerprint("b")}) == 4
    with pytest.raises(ConfigurationError, match=re.escape("'decoding' is '{\"constrained\": 3}'")):
        decoding_of_tag('{"constrained": 3}')
