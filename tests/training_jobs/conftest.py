"""A corpus of three spoken words, and a model that has learnt it by heart in a few seconds."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from fork_server import fork_from_torch
from made_once import made_once
from ports import HOST, free_port
from process_trees import StartProcess, end_tree
from stage_runs import RANK_VARIABLES, make_base, make_packs
from upstream_weights import write_mctp

from models import (
    MctpConfig,
    MctpForCausalLM,
    extend_text_tokenizer,
    load_audio_tokenizer,
    make_byte_tokenizer,
    save_model,
)
from models.tokenizers.mel_kmeans import MelKmeansTokenizer
from training_jobs.jobs import Tracking
from training_jobs.reporting import Reporter
from training_jobs.rows import encode_row
from training_jobs.tracking_store import connect, prepare_store
from validation.lake import Lake
from validation.schemas import frame_from_rows

CORPUS = "words"
CODES = 32  # of the model; the audio tokenizer has fewer
RATIO = (1, 10, 4, 10)
RATE_HZ = 22_050
STEPS = 80  # enough to learn nine rows by heart, backbone and modules
WORDS = {"one": 300.0, "two": 900.0, "six": 2400.0}  # word to the pitch in Hz that stands for its sound


@pytest.fixture
def boost(tmp_path: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """Upstream's published directory, with ten modules, and its tensors."""
    goldens = Path(__file__).parents[2] / "../shared/goldens"
    if not goldens.is_dir():
        pytest.skip("no goldens beside the repository")
    directory = tmp_path / "VITA-Audio-Boost"
    return directory, write_mctp(goldens, directory)


@dataclass(frozen=True)
class Trained:
    """Directories of a trained model and its lake."""

    lake: str
    model_dir: Path
    tokenizer_dir: Path
    wav: dict[str, Path]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    torch.set_num_threads(1)
    fork_from_torch()
    home = made_once(tmp_path_factory, "trained", _make)
    wav = {word: _wav(home, word) for word in WORDS}
    return Trained(str(home / "lake"), home / "model", home / "tokenizer", wav)


def _wav(home: Path, word: str) -> Path:
    return home / f"{word}.wav"


def _make(home: Path) -> None:
    waveforms = {word: _waveform(pitch) for word, pitch in WORDS.items()}
    tokenizer = MelKmeansTokenizer.train(
        [(waveform, RATE_HZ) for waveform in waveforms.values()], codes=16, iterations=5, seed=0
    )
    tokenizer.save(home / "tokenizer")
    tokenizer = load_audio_tokenizer(home / "tokenizer")
    for word, waveform in waveforms.items():
        soundfile.write(_wav(home, word), waveform, RATE_HZ, subtype="PCM_16")
    tokens = {word: tokenizer.encode(waveform, RATE_HZ) for word, waveform in waveforms.items()}
    _write_lake(Lake(str(home / "lake")), tokens, tokenizer.digest)
    _train(home / "model", tokens)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store without experiments, whose tables take seconds to make."""
    database = tmp_path_factory.mktemp("empty") / "mlflow.db"
    connect(Tracking(uri=f"sqlite:///{database}", artifact_root="", tags={}))
    return database


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Tracking:
    """A store of each module's own."""
    home = tmp_path_factory.mktemp("mlflow")
    shutil.copy(empty_store, home)
    tracking = Tracking(
        uri=f"sqlite:///{home / 'mlflow.db'}", artifact_root=str(home / "artifacts"), tags={"profile": "tiny"}
    )
    prepare_store(tracking)
    return tracking


@pytest.fixture(scope="session")
def base_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a small stage starts from."""
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def packs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What it is trained on."""
    return make_packs(tmp_path_factory.mktemp("packs"))


@pytest.fixture
def one_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is the only rank."""
    for name, value in zip(RANK_VARIABLES, ("0", "0", "1", HOST, str(free_port())), strict=True):
        monkeypatch.setenv(name, value)


@pytest.fixture
def start_process() -> Iterator[StartProcess]:
    """Starts commands whose processes do not outlive the test, however it ends."""
    started: list[subprocess.Popen[Any]] = []

    def start(command: list[str], **options: Any) -> subprocess.Popen[Any]:
        started.append(subprocess.Popen(command, **options))
        return started[-1]

    yield start
    for process in started:
        end_tree(process)
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture
def report() -> Reporter:
    return Reporter(lambda message: None)


def conversations(word: str) -> dict[str, list[dict[str, str]]]:
    """The row of each task for one word; spoken questions are answered with the word and its sound."""
    return {
        "asr": _turns("Convert the speech to text.\n<|audio|>", word),
        "tts": _turns(f"Convert the text to speech.\n{word}", "<|audio|>"),
        "conversation": _turns("<|audio|>", f"{word}\n<|audio|>"),
    }


def _turns(question: str, reply: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]


def _waveform(pitch_hz: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    time_s = np.arange(RATE_HZ // 2) / RATE_HZ
    swept = np.sin(2 * np.pi * pitch_hz * (1 + 0.3 * time_s) * time_s)
    return (0.5 * swept).astype(np.float32)


def _write_lake(lake: Lake, tokens: dict[str, list[int]], tokenizer_digest: str) -> None:
    digests = {word: f"{number:064x}" for number, word in enumerate(WORDS)}
    rows = []
    for split, speaker in (("train", "ann"), ("test", "ann"), ("test", "bob")):
        for word in WORDS:
            for task, messages in conversations(word).items():
                audios = sum(turn["content"].count("<|audio|>") for turn in messages)
                rows.append(
                    {
                        "corpus": CORPUS,
                        "row_id": f"{task}-{split}-{speaker}-{word}",
                        "split": split,
                        "task": task,
                        "language": "en",
                        "speaker": speaker,
                        "messages": json.dumps(messages),
                        "audios": [f"{word}.wav"] * audios,
                        "utterance_ids": [word] * audios,
                        "audio_digests": [digests[word]] * audios,
                        "seconds": 0.5 * audios,
                        "jsonl_path": "jsonl",
                        "line": len(rows) + 1,
                        "speakers": [speaker],
                        "licences": ["CC0-1.0"],
                        "consents": ["unknown"],
                    }
                )
    lake.write_table("training_rows", CORPUS, frame_from_rows("training_rows", rows))
    audio = [
        {
            "corpus": CORPUS,
            "audio_digest": digests[word],
            "tokenizer_digest": tokenizer_digest,
            "augmentation_digest": "",
            "token_ids": tokens[word],
            "duration_s": 0.5,
        }
        for word in WORDS
    ]
    lake.write_table("audio_tokens", CORPUS, frame_from_rows("audio_tokens", audio))


def _train(directory: Path, tokens: dict[str, list[int]]) -> None:
    tokenizer = extend_text_tokenizer(make_byte_tokenizer(), CODES)
    samples: list[tuple[Sequence[int], Sequence[int]]] = [
        encode_row(messages, [tokens[word]] * str(messages).count("<|audio|>"), tokenizer, RATIO)
        for word in WORDS
        for messages in conversations(word).values()
    ]
    input_ids = torch.tensor([[token for ids, _ in samples for token in ids]])
    labels = torch.tensor([[label for _, labels in samples for label in labels]])
    positions = torch.tensor([[position for ids, _ in samples for position in range(len(ids))]])
    torch.manual_seed(0)
    model = MctpForCausalLM(
        MctpConfig(
            vocab_size=-(-len(tokenizer) // 8) * 8,
            hidden_size=48,
            intermediate_size=128,
            num_hidden_layers=12,
            num_nextn_predict_layers=10,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=512,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=STEPS)
    for _ in range(STEPS):
        loss = model(input_ids, labels=labels, position_ids=positions).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    save_model(model, directory)
    tokenizer.save_pretrained(directory)
