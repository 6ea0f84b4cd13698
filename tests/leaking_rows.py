"""Accepted rows and fingerprints made on the spot, to see what the leakage gate says of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import soundfile as sf
import soxr

from validation.digests import digest_bytes
from validation.fingerprint import FINGERPRINT_RECIPE, fingerprint, loud_frames
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
        "audio_path": None if audio is None else f"audio_22k/{audio_digest}.wav",
        "audio_digest": audio_digest,
        "duration_s": 1.0,
    }
    return {**values, **more}


RATE_HZ = 22_050


def syllables(seconds: float, seed: int) -> np.ndarray:
    """Noise through formants that change several times a second: as busy as speech, and never twice the same."""
    rng = np.random.default_rng(seed)
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < seconds * RATE_HZ:
        noise = rng.standard_normal(int(RATE_HZ * rng.uniform(0.06, 0.2)))
        low, high = sorted(rng.uniform(200, 3800, 2))
        spectrum = np.fft.rfft(noise)
        frequency = np.fft.rfftfreq(len(noise), 1 / RATE_HZ)
        spectrum[(frequency < low) | (frequency > high)] *= 0.05
        parts.append(np.fft.irfft(spectrum, len(noise)))
    samples = np.concatenate(parts)[: int(seconds * RATE_HZ)]
    return (0.2 * samples / np.abs(samples).max()).astype(np.float32)


def copied(samples: np.ndarray) -> np.ndarray:
    """The recording, softer, later, through the telephone and back."""
    later = np.concatenate([np.zeros(10_007, dtype=np.float32), 0.3 * samples])
    return soxr.resample(soxr.resample(later, RATE_HZ, 8_000), 8_000, RATE_HZ)


def fill(lake: Lake, rows: list[dict[str, Any]], audio: dict[str, np.ndarray] | None = None) -> list[str]:
    """Write accepted rows and their fingerprints; ``audio`` by its name, all other audio is nothing alike."""
    heard = {digest(name): samples for name, samples in (audio or {}).items()}
    for one in rows:
        if one["audio_digest"] in heard:
            with lake.atomic_write(one["audio_path"]) as stream:
                sf.write(stream, heard[one["audio_digest"]], RATE_HZ, format="WAV", subtype="PCM_16")
    corpora = list(dict.fromkeys(one["corpus"] for one in rows))
    for corpus in corpora:
        own = [one for one in rows if one["corpus"] == corpus]
        lake.write_table("accepted_utterances", corpus, frame_from_rows("accepted_utterances", own))
        digests = sorted({one["audio_digest"] for one in own if one["audio_digest"]})
        prints = [fingerprint(heard[one], RATE_HZ) if one in heard else _other(one) for one in digests]
        made = [
            {
                "corpus": corpus,
                "audio_digest": one,
                "frames": words,
                "recipe": FINGERPRINT_RECIPE,
                "loud_frames": loud_frames(words),
            }
            for one, words in zip(digests, prints, strict=True)
        ]
        lake.write_table("audio_fingerprints", corpus, frame_from_rows("audio_fingerprints", made))
        lake.write_manifest("audio_fingerprints", corpus, digest_bytes(repr(digests).encode()), {})
    return corpora


def _other(audio_digest: str) -> np.ndarray:
    return np.random.default_rng(int(audio_digest[:12], 16)).integers(1, 2**32, 200, dtype=np.uint32)


def check(
    lake: Lake, rows: list[dict[str, Any]], *sets: EvaluationSet, **more: Any
) -> set[tuple[str, str, str]]:
    """Rule, training row and evaluation row of each finding."""
    audio, speakers = more.pop("audio", None), more.pop("speakers", {})
    corpora = fill(lake, rows, audio)
    evaluation = Evaluation(sets=sets or (EvaluationSet(name="test"),), **more)
    check_leakage(lake, evaluation, corpora, speakers)
    found = lake.read_table("leakage")
    return set(found.select("rule", "utterance_id", "evaluation_utterance_id").iter_rows())
