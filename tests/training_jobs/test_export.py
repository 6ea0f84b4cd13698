"""An export is what upstream's code reads: names, keys, tokenizer, schedule, code; and its card says what it holds."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from upstream_weights import (
    AUDIO_CODES,
    assert_same,
    tensors_of,
    write_audio_tokenizer,
    write_code,
    write_mctp,
    write_qwen,
)

from models import extend_text_tokenizer, load_model
from training_jobs import base_model
from training_jobs.export_weights import (
    CHAT_TEMPLATE,
    Exported,
    ExportError,
    decode_schedule,
    export_weights,
)
from training_jobs.import_weights import import_weights
from training_jobs.jobs import BaseModelJob
from training_jobs.model_card import CardFacts, model_card
from training_jobs.profile import BaseModelSettings
from training_jobs.reporting import Reporter
from training_jobs.trained_on import CorpusShare, TrainedStage

GOLDENS = Path(__file__).parents[2] / "../shared/goldens"
BOOST = (1, 10, 4, 10)
# What upstream's published config.json has, but for the version that wrote it.
CONFIG_KEYS = {
    "architectures", "attention_dropout", "auto_map", "bos_token_id", "eos_token_id", "hidden_act", "hidden_size",
    "initializer_range", "intermediate_size", "max_position_embeddings", "max_window_layers", "model_type",
    "num_attention_heads", "num_hidden_layers", "num_key_value_heads", "num_nextn_predict_layers", "rms_norm_eps",
    "rope_theta", "sliding_window", "tie_word_embeddings", "torch_dtype", "use_cache", "use_sliding_window",
    "vocab_size",
}  # fmt: skip
# What a program with upstream's code only does: no module of ours is imported.
LOAD = """
import sys, torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from safetensors.torch import save_file

directory, state = sys.argv[1:]
config = AutoConfig.from_pretrained(directory, trust_remote_code=True)
assert "qwen2" in config.model_type and type(config).__name__ == "Qwen2MTPConfig", config
model = AutoModelForCausalLM.from_pretrained(directory, trust_remote_code=True, torch_dtype=torch.float32)
assert type(model).__name__ == "Qwen2MTPForCausalLM", model
tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=True)
generation = GenerationConfig.from_pretrained(directory)
assert generation.mtp_inference_mode == [1, 10, 4, 10] and tokenizer.pad_token_id == generation.pad_token_id
assert tokenizer("<|audio_0|>").input_ids == [279], tokenizer("<|audio_0|>").input_ids
assert not [name for name in sys.modules if name.split(".")[0] in ("models", "training_jobs")]
save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, state)
"""


def make_model(source: Path, output: Path, codes: int) -> Path:
    settings = BaseModelSettings(directory=str(source))
    job = BaseModelJob(settings=settings, audio_codes=codes, seed=1, output_dir=output)
    base_model.run(job, Reporter(lambda line: None))
    return output / "model"


def test_upstream_s_weights_go_through_import_and_export_to_the_bit_and_load_with_upstream_s_code_only(
    tmp_path: Path,
) -> None:
    if not GOLDENS.is_dir():
        pytest.skip("no goldens beside the repository")
    tensors = write_mctp(GOLDENS, tmp_path / "boost")
    import_weights(tmp_path / "boost", tmp_path, "boost", start_at="sft")
    model_dir = make_model(tmp_path / "weights" / "boost", tmp_path / "base", AUDIO_CODES)
    target, state = tmp_path / "export", tmp_path / "state.safetensors"
    target.mkdir()
    write_audio_tokenizer(tmp_path / "tok")
    done = export_weights(
        model_dir, target, BOOST, code_from=tmp_path / "boost", tokenizer_dir=tmp_path / "tok"
    )
    assert (done.modules, done.schedule, done.has_code, done.audio_codes) == (10, BOOST, True, AUDIO_CODES)
    assert_same(tensors_of(target), tensors)
    assert (target / "audio_tokenizer" / "config.json").is_file()
    config = json.loads((target / "config.json").read_text())
    assert config.keys() >= CONFIG_KEYS, CONFIG_KEYS - config.keys()
    assert config["architectures"] == ["Qwen2MTPForCausalLM"]
    assert config["rope_theta"] == 1e6
    golden = json.loads((GOLDENS / "mtp10.json").read_text())
    assert {key: config[key] for key in golden["config"]} == golden["config"]
    generation = json.loads((target / "generation_config.json").read_text())
    assert generation == {
        "bos_token_id": 256,
        "do_sample": False,
        "eos_token_id": [258, 256],
        "mtp_inference_mode": [1, 10, 4, 10],
        "pad_token_id": 256,
    }
    command = [sys.executable, "-c", LOAD, str(target), str(state)]
    home = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "PATH": "", "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(command, cwd=tmp_path, env=home, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert_same(load_file(state), tensors)
    # And the way back.
    row = golden["losses"][0]
    loss = load_model(target)(
        torch.tensor([row["input_ids"]]), labels=torch.tensor([row["labels"]])
    ).loss.item()
    assert loss == pytest.approx(row["loss"], abs=1e-4)
    again = import_weights(target, tmp_path, "again", start_at="sft")
    assert (again.modules, again.audio_codes) == (10, AUDIO_CODES)


@pytest.mark.parametrize("tied", [False, True])
def test_a_model_without_modules_and_without_code_is_exported_too(tmp_path: Path, tied: bool) -> None:
    source = write_qwen(tmp_path / "qwen", tie_word_embeddings=tied)
    model_dir = make_model(source, tmp_path / "base", codes=8)
    target = tmp_path / "export"
    target.mkdir()
    done = export_weights(model_dir, target, BOOST)
    assert (done.modules, done.schedule, done.has_code) == (0, (1, 0), False)
    config = json.loads((target / "config.json").read_text())
    assert config["num_nextn_predict_layers"] == 0
    assert "auto_map" not in config
    assert_same(load_model(target, dtype=None).state_dict(), load_model(model_dir, dtype=None).state_dict())
    tokenizer = extend_text_tokenizer(target, 8)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert text == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


def test_the_tokenizer_s_configuration_is_what_transformers_4_reads(tmp_path: Path) -> None:
    model_dir = make_model(write_qwen(tmp_path / "qwen"), tmp_path / "base", codes=8)
    path = model_dir / "tokenizer_config.json"
    written = json.loads(path.read_text())
    names = {"PreTrainedTokenizerFast": "TokenizersBackend", "Qwen2Tokenizer": "Qwen2Tokenizer"}
    for wanted, given in names.items():
        path.write_text(
            json.dumps({**written, "tokenizer_class": given, "extra_special_tokens": ["<|audio|>"]})
        )
        target = tmp_path / wanted
        target.mkdir()
        export_weights(model_dir, target, BOOST)
        config = json.loads((target / "tokenizer_config.json").read_text())
        assert config["tokenizer_class"] == wanted
        assert config["additional_special_tokens"] == ["<|audio|>"]
        assert config["chat_template"] == CHAT_TEMPLATE
        assert not {"extra_special_tokens", "backend"} & config.keys()
        assert (config["eos_token"], config["pad_token"]) == ("<|im_end|>", "<|endoftext|>")


@pytest.mark.parametrize(
    ("ratio", "modules", "expected"),
    [
        (BOOST, 10, BOOST),
        ((1, 4, 3, 8, 4, 10), 10, (1, 4, 3, 8, 4, 10)),
        (BOOST, 1, (1, 1, 4, 1)),
        (BOOST, 0, (1, 0)),
    ],
)
def test_decoding_takes_no_more_steps_in_a_row_than_there_are_modules(
    ratio: tuple[int, ...], modules: int, expected: tuple[int, ...]
) -> None:
    assert decode_schedule(ratio, modules) == expected


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("modeling_qwen2.py", None, r"has no modeling_qwen2\.py"),
        ("configuration_qwen2.py", "class Other: pass", r"has no class Qwen2MTPConfig; it has \['Other'\]"),
        ("modeling_qwen2.py", "class (", r"is no Python"),
        (
            "modeling_qwen2.py",
            "from .flash import x\nclass Qwen2MTPForCausalLM: pass",
            r"imports \.flash, which is not there",
        ),
    ],
)
def test_code_that_is_not_upstream_s_is_refused_and_never_run(
    tmp_path: Path, name: str, text: str | None, said: str
) -> None:
    model_dir = make_model(write_qwen(tmp_path / "qwen"), tmp_path / "base", codes=8)
    code = write_code(tmp_path / "code")
    (code / "configuration_qwen2.py").write_text(
        f"raise SystemExit\n{(code / 'configuration_qwen2.py').read_text()}"
    )
    if text is None:
        (code / name).unlink()
    else:
        (code / name).write_text(text)
    target = tmp_path / "export"
    target.mkdir()
    with pytest.raises(ExportError, match=said):
        export_weights(model_dir, target, BOOST, code_from=code)


def test_files_that_upstream_s_code_imports_come_along(tmp_path: Path) -> None:
    model_dir = make_model(write_qwen(tmp_path / "qwen"), tmp_path / "base", codes=8)
    code = write_code(tmp_path / "code")
    modeling = code / "modeling_qwen2.py"
    modeling.write_text(f"from .losses import loss\n{modeling.read_text()}")
    (code / "losses.py").write_text("from . import more\n")
    (code / "more.py").write_text("")
    (code / "unrelated.py").write_text("")
    target = tmp_path / "export"
    target.mkdir()
    export_weights(model_dir, target, BOOST, code_from=code)
    found = {path.name for path in target.glob("*.py")}
    assert found == {"configuration_qwen2.py", "modeling_qwen2.py", "losses.py", "more.py"}


def facts(tmp_path: Path) -> CardFacts:
    base = TrainedStage(
        "base_model", tmp_path, {}, {"source": "/data/weights/Qwen2.5-7B", "licence": "apache-2.0"}
    )
    sft = TrainedStage("sft", tmp_path, {"packs_dir": "p"}, {})
    return CardFacts(
        name="vita-audio-mctp version 3",
        exported=Exported(tmp_path, 10, BOOST, True, {"model.safetensors": "e" * 64}, 16_384),
        stages=[base, sft],
        shares=[CorpusShare("a|b", ("CC-BY-4.0", "CC0-1.0"), 1_200, 2_400, 99_000, 12.5, 7)],
        digests={"model": "d" * 64},
        tokenizer_kind="mel_kmeans",
    )


def test_the_card_names_data_licences_figures_and_digests(tmp_path: Path) -> None:
    latency = {
        "latency_markdown": "| boost | 1 |",
        "hardware": {"gpu": None, "cpu": "a CPU", "dtype": "float32"},
    }
    card = model_card(
        replace(facts(tmp_path), evaluation={"scores_markdown": "| asr | 0.1 |"}, latency=latency)
    )
    _, header, text = card.split("---\n", 2)
    assert yaml.safe_load(header)["license_name"] == "base model apache-2.0; data CC-BY-4.0, CC0-1.0"
    for words in (
        "10 MCTP modules",
        "Qwen2.5-7B; licence: apache-2.0",
        "Trained stages: sft",
        "[1, 10, 4, 10]",
        "These are not GLM-4-Voice's tokens",
        "| a\\|b | CC-BY-4.0, CC0-1.0 | 1,200 | 12.50 (7 rows unknown) | 2,400 | 99,000 |",
        "| asr | 0.1 |",
        "a CPU in float32",
        f"- model: `{'d' * 64}`",
        f"- model.safetensors: `{'e' * 64}`",
    ):
        assert words in text, words
    assert "/data/weights" not in card


def test_the_card_says_what_is_missing(tmp_path: Path) -> None:
    card = model_card(
        replace(
            facts(tmp_path),
            shares=(),
            forgotten=["f" * 64],
            exported=replace(facts(tmp_path).exported, has_code=False),
        )
    )
    for words in (
        "Nothing was trained here",
        "1 requests to forget came after the training",
        "were not evaluated",
        "its code is not beside the weights",
    ):
        assert words in card, words
    random = TrainedStage("base_model", tmp_path, {}, {"source": "random weights"})
    assert "licence: none" in model_card(replace(facts(tmp_path), stages=[random]))
    assert "licence: unknown" in model_card(replace(facts(tmp_path), stages=[]))
