"""A small lake with speech, noise and training rows: what augmentation works on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from validation.augmentation.recipe import Recipe
from validation.lake import Lake
from validation.schemas import frame_from_rows

RATE_HZ = 22_050
SPEECH, STREET = "speech", "street"
RECIPE = Recipe.model_validate(
    {
        "copies": 2,
        "speed": {"probability": 0.7, "factors": [0.9, 1.1]},
        "noise": {"probability": 0.8, "corpus": STREET, "snr_db": [10, 20]},
        "gain": {"probability": 0.5, "db": [-6, 6]},
    }
)


def voice(seed: int, seconds: float = 1.0) -> NDArray[np.float32]:
    """A buzz that swells and fades, another one for each seed."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    pitch_hz = 110 + 15 * seed
    buzz = sum(np.sin(2 * np.pi * pitch_hz * k * time_s) / k for k in range(1, 12))
    return (0.1 * buzz * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time_s))).astype(np.float32)


def hiss(seed: int, seconds: float) -> NDArray[np.float32]:
    """White noise."""
    return (0.05 * np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ))).astype(np.float32)


def stored(lake: Lake, corpus: str, samples: NDArray[np.float32]) -> dict[str, Any]:
    """Write a recording; what its row says of it."""
    digest = hashlib.sha256(samples.tobytes()).hexdigest()
    path = f"audio_22k/{corpus}/{digest[:2]}/{digest}.wav"
    place = Path(lake.full_path(path))
    place.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(place, samples, RATE_HZ, subtype="PCM_16")
    return {"audio_path": path, "audio_digest": digest, "duration_s": len(samples) / RATE_HZ}


def utterance(
    corpus: str, name: str, split: str, tasks: list[str], audio: dict[str, Any], **more: Any
) -> dict[str, Any]:
    """A row of ``accepted_utterances``."""
    return {
        "corpus": corpus,
        "utterance_id": name,
        "split": split,
        "tasks": tasks,
        "speaker": "ann",
        "language": "en",
        "text": "nine" if tasks != ["noise"] else "",
        "licence": "CC-BY-4.0" if corpus == STREET else "CC0-1.0",
        "source": f"{name}.wav",
        **audio,
        **more,
    }


def training_row(
    name: str, task: str, split: str, messages: list[tuple[str, str]], said: list[dict[str, Any]]
) -> dict[str, Any]:
    """A row of ``training_rows``."""
    return {
        "corpus": SPEECH,
        "row_id": name,
        "split": split,
        "task": task,
        "language": "en",
        "speaker": "ann",
        "messages": json.dumps([{"role": role, "content": content} for role, content in messages]),
        "audios": [one["audio_path"] for one in said],
        "utterance_ids": [one["utterance_id"] for one in said],
        "audio_digests": [one["audio_digest"] for one in said],
        "seconds": sum(one["duration_s"] for one in said),
        "jsonl_path": f"jsonl/{SPEECH}/{split}.jsonl",
        "line": 1,
        "speakers": ["ann"],
        "licences": ["CC0-1.0"],
        "consents": ["unknown"],
    }


def make_lake(root: Path, train: int = 6, test: int = 2, noises: int = 3) -> Lake:
    """``train`` and ``test`` utterances with a row each to hear and to say, a spoken question in each split, and noise.

    One more noise is held out, and may not be heard.
    """
    lake = Lake(str(root))
    splits = ["train"] * train + ["test"] * test
    spoken = [
        utterance(SPEECH, f"u{number}", split, ["asr", "tts"], stored(lake, SPEECH, voice(number)))
        for number, split in enumerate(splits)
    ]
    rows = []
    for one in spoken:
        name, split = one["utterance_id"], one["split"]
        heard = [("user", "Convert the speech to text.\n<|audio|>"), ("assistant", "nine")]
        said = [("user", "Convert the text to speech.\nnine"), ("assistant", "<|audio|>")]
        rows += [training_row(f"{name}:asr", "asr", split, heard, [one])]
        rows += [training_row(f"{name}:tts", "tts", split, said, [one])]
    for number, split in enumerate(("train", "test")):
        both = [
            utterance(
                SPEECH,
                f"q{number}#{marker}",
                split,
                ["conversation"],
                stored(lake, SPEECH, voice(40 + 2 * number + marker, 0.7)),
            )
            for marker in (0, 1)
        ]
        spoken += both
        turns = [("user", "<|audio|>"), ("assistant", "four\n<|audio|>")]
        rows.append(training_row(f"q{number}", "conversation", split, turns, both))
    lake.write_table("accepted_utterances", SPEECH, frame_from_rows("accepted_utterances", spoken))
    lake.write_table("training_rows", SPEECH, frame_from_rows("training_rows", rows))
    street = [
        utterance(
            STREET,
            f"n{number}",
            "train" if number < noises else "test",
            ["noise"],
            stored(lake, STREET, hiss(number, 0.5 + number)),
        )
        for number in range(noises + 1)
    ]
    lake.write_table("accepted_utterances", STREET, frame_from_rows("accepted_utterances", street))
    lake.write_table("training_rows", STREET, frame_from_rows("training_rows", []))
    return lake
