"""Accepted rows and fingerprints made on the spot, to see what the leakage gate says of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from validation.digests import digest_bytes
from validation.fingerprint import FINGERPRINT_RECIPE
from validation.lake import Lake
from validation.leakage import check_leakage
from validation.leakage_rules import Evaluation, EvaluationSet
from validation.schemas import frame_from_rows


def digest(name: str) -> str:
    return digest_bytes(name.encode())


def row(name: str, split: str = "train", audio: str | None = "", **more: Any) -> dict[str, Any]:
    """An accepted row; its audio, speaker and text are its own unless said otherwise."""
    audio_digest = None if audio is None else digest(audio or name)
    values = {
        "corpus": "c",
        "utterance_id": name,
        "split": split,
        "tasks": ["asr"],
        "speaker": f"speaker of {name}",
        "language": "en",
        "text": f"words of {name}",
        "licence": "CC0-1.0",
        "source": f"{name}.txt:1",
        "source_digest": audio_digest,
        "conversation_id": None,
        "marker": None,
        "messages": None,
        "audio_path": None if audio is None else f"audio_22k/c/{audio_digest}.wav",
        "audio_digest": audio_digest,
        "duration_s": 1.0,
    }
    return {**values, **more}


def noise(seed: int, frames: int = 200) -> np.ndarray:
    """A fingerprint of its own."""
    return np.random.default_rng(seed).integers(1, 2**32, frames, dtype=np.uint32)


def with_errors(words: np.ndarray, share: float) -> np.ndarray:
    """The fingerprint with that share of its bits turned."""
    wrong = np.random.default_rng(0).random((len(words), 32)) < share
    return words ^ (wrong.astype(np.uint32) << np.arange(32, dtype=np.uint32)).sum(axis=1, dtype=np.uint32)


def fill(lake: Lake, rows: list[dict[str, Any]], prints: dict[str, np.ndarray] | None = None) -> list[str]:
    """Write accepted rows and their fingerprints; ``prints`` by name of the audio, all others differ."""
    corpora = list(dict.fromkeys(one["corpus"] for one in rows))
    given = {digest(name): words for name, words in (prints or {}).items()}
    for corpus in corpora:
        own = [one for one in rows if one["corpus"] == corpus]
        lake.write_table("accepted_utterances", corpus, frame_from_rows("accepted_utterances", own))
        digests = sorted({one["audio_digest"] for one in own if one["audio_digest"]})
        made = [
            {
                "corpus": corpus,
                "audio_digest": one,
                "frames": given.get(one, noise(int(one[:12], 16))),
                "recipe": FINGERPRINT_RECIPE,
                "loud_frames": 200,
            }
            for one in digests
        ]
        lake.write_table("audio_fingerprints", corpus, frame_from_rows("audio_fingerprints", made))
        lake.write_manifest("audio_fingerprints", corpus, digest_bytes(repr(digests).encode()), {})
    return corpora


def check(
    lake: Lake, rows: list[dict[str, Any]], *sets: EvaluationSet, **more: Any
) -> set[tuple[str, str, str]]:
    """Rule, training row and evaluation row of each finding."""
    prints, speakers = more.pop("prints", None), more.pop("speakers", {})
    corpora = fill(lake, rows, prints)
    evaluation = Evaluation(sets=sets or (EvaluationSet(name="test"),), **more)
    check_leakage(lake, evaluation, corpora, speakers)
    found = lake.read_table("leakage")
    return set(found.select("rule", "utterance_id", "evaluation_utterance_id").iter_rows())
