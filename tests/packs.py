"""Lakes with training rows and tokens, and jobs that pack them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training_jobs.jobs import PackJob
from training_jobs.plan import names_of_rows, read_plan
from training_jobs.profile import MixtureItem
from training_jobs.reporting import Reporter
from validation.lake import Lake
from validation.schemas import frame_from_rows

DIGEST, OTHER_DIGEST = "a" * 64, "b" * 64
CODES = 8
RATIO = (1, 10, 4, 10)


@dataclass
class Messages:
    lines: list[str] = field(default_factory=list)

    @property
    def report(self) -> Reporter:
        return Reporter(self.lines.append)


def training_row(
    number: int,
    task: str = "asr",
    split: str = "train",
    text: str = "nine",
    corpus: str = "c",
    **stated: Any,
) -> dict[str, Any]:
    asked = {"asr": "Convert the speech to text.\n<|audio|>", "text": "what?"}[task]
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": text}]
    audios = 1 if task == "asr" else 0
    return {
        "corpus": corpus,
        "row_id": f"{task}-{number}",
        "split": split,
        "task": task,
        "language": "en",
        "speaker": "ann",
        "messages": json.dumps(messages),
        "audios": ["a.wav"] * audios,
        "utterance_ids": [f"u{number}"] * audios,
        "audio_digests": [f"{number:064x}"] * audios,
        "seconds": 1.0 * audios,
        "jsonl_path": "train.jsonl",
        "line": number + 1,
        "speakers": ["ann"],
        "licences": ["CC0-1.0"],
        "consents": ["unknown"],
        **stated,
    }


def write_lake(root: Path, rows: list[dict[str, Any]], tokenizer_digest: str = DIGEST) -> Lake:
    lake = Lake(str(root))
    for corpus in {row["corpus"] for row in rows}:
        own = [row for row in rows if row["corpus"] == corpus]
        lake.write_table("training_rows", corpus, frame_from_rows("training_rows", own))
        digests = sorted({digest for row in own for digest in row["audio_digests"]})
        tokens = [
            {
                "corpus": corpus,
                "audio_digest": digest,
                "tokenizer_digest": tokenizer_digest,
                "augmentation_digest": "",
                "token_ids": [int(digest, 16) % CODES] * 12,
                "duration_s": 1.0,
            }
            for digest in digests
        ]
        lake.write_table("audio_tokens", corpus, frame_from_rows("audio_tokens", tokens))
    return lake


def packed_names(job: PackJob) -> list[list[str]]:
    """The samples of each row."""
    count = read_plan(job.output_dir)["packed_rows"]
    return list(names_of_rows(job.output_dir, range(count)).values())


def pack_job(tmp_path: Path, model_dir: Path, **changes: Any) -> PackJob:
    values = {
        "lake": str(tmp_path / "lake"),
        "corpora": ["c"],
        "model_dir": model_dir,
        "tokenizer_digest": DIGEST,
        "mixture": [MixtureItem(task="asr", ratio=1.0), MixtureItem(task="text", ratio=1.0)],
        "ratio": RATIO,
        "sequence_length": 256,
        "seed": 1,
        "output_dir": tmp_path / "packs",
    }
    return PackJob(**{**values, **changes})
