"""Facts of versions for tests of their pages, with hostile texts in every place that others fill."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import numpy as np

from training_jobs.history import History, StepRecord
from training_jobs.trained_on import CorpusShare, TrainedStage
from training_jobs.version_data import CorpusFacts, DataFacts
from training_jobs.version_facts import StageFacts, VersionFacts
from training_jobs.version_samples import Sample, Samples
from training_jobs.version_sounds import NoSound, sound_of
from validation.leakage import Verdict
from validation.ledger import Balance

HOSTILE = "</title></style><script>alert('x')</script><img src=x onerror=alert(1)> & \"q\" | \u202e"


def rows(count: int, task: str = "tts", **changes: Any) -> list[dict[str, Any]]:
    """Scored rows in Boost; row ``n`` has ``n`` word errors in ten."""
    return [
        {
            "task": task,
            "corpus": "made",
            "row_id": f"{task}{number}",
            "language": "en",
            "speaker_group": "known",
            "mode": "boost",
            "reference": f"text {number}",
            "hypothesis": "said",
            "read_back": None,
            "heard": None,
            "word_errors": number,
            "words": 10,
            "unit": "word",
            "exact": number == 0,
            "ended": True,
            "spoken": [1, 2],
            **changes,
        }
        for number in range(count)
    ]


def sample(**changes: Any) -> Sample:
    """A sample with sounds of a second."""
    tone = sound_of(np.sin(np.arange(22_050, dtype=np.float32) / 10), 22_050)
    values: dict[str, Any] = {
        "place": "median",
        "rank": 1,
        "of": 3,
        "task": "sqa",
        "corpus": HOSTILE,
        "row_id": HOSTILE,
        "language": HOSTILE,
        "speaker_group": "unseen",
        "prompt_text": f"user: {HOSTILE}\nsecond line",
        "prompt": tone,
        "reply": tone,
        "expected": HOSTILE,
        "written": HOSTILE,
        "heard": {"the model itself": HOSTILE},
        "errors": 1,
        "units": 3,
        "unit": "word",
        "exact": False,
        "ended": False,
    }
    return Sample(**(values | changes))


def stage(name: str, modules: int, steps: int = 30) -> StageFacts:
    """A trained stage with a falling loss."""
    losses = [5.0 - step / steps for step in range(steps)]
    records = [
        StepRecord(step, loss, loss, [loss] * modules, 1e-3, 1.0, 100, 0.1)
        for step, loss in enumerate(losses)
    ]
    result = {
        "verdict": "converged",
        "verdict_why": HOSTILE,
        "first_loss": 5.0,
        "last_loss": 4.0,
        "seconds": 12.0,
        "trends_markdown": "| loss | verdict |\n|---|---|\n| loss | converged |",
    }
    job = {"spec": {"description": HOSTILE, "steps": steps, "ratio": [1, 10]}, "packs_dir": "p"}
    return StageFacts(TrainedStage(name, None, job, result), History(steps=records))  # type: ignore[arg-type]


def whole_facts(**changes: Any) -> VersionFacts:
    """A version of which everything is known."""
    scores = {"asr_known_wer": 0.25, "asr_known_exact": 0.5, "tts_mos": 3.2}
    figures = dict.fromkeys(("vanilla", "boost"), scores)
    ends = {mode: {name: [value - 0.1, value + 0.1] for name, value in scores.items()} for mode in figures}
    cells = HOSTILE.replace("|", "\\|")
    small = f"| a | b |\n|---|---:|\n| {cells} | 1 |"
    duel = {
        "candidate": 0.25, "champion": 0.2, "difference": 0.05, "interval": [0.01, 0.09], "limit": 0.0,
        "relative": False, "undecided": False, "basis": HOSTILE, "held": False,
    }  # fmt: skip
    values: dict[str, Any] = {
        "version": "7",
        "registered_model": "vita-audio-mctp",
        "created_at": "2026-01-01 00:00 UTC",
        "made_at": "2026-01-02 00:00 UTC",
        "run_id": "abc",
        "tags": {"gate": "failed", "git_commit": HOSTILE, "model_digest": "d" * 64, "promoted_why": HOSTILE},
        "aliases": ["candidate"],
        "metrics": {"boost/asr_known_wer": 0.25},
        "registration": {
            "gate_reasons": [f"failed: {HOSTILE}", "held: first chunk", "note: one"],
            "duel": {"boost/asr_known_wer": duel},
            "duel_champion": "6",
        },
        "evaluation": {
            "overall": figures,
            "intervals": ends,
            "boost_minus_vanilla": {"asr_known_wer": {"value": 0.1, "low": 0.05, "high": 0.2}},
            "rows": 40,
            "held_out_digest": "e" * 64,
            "cut_replies": 1,
            "left_out": {HOSTILE: 2},
            "listeners": [HOSTILE],
            "normalisers": {"en": {"name": HOSTILE, "unit": "word"}},
            "scores_markdown": small,
            "schedules_markdown": small,
            "modules_markdown": small,
            "standard_sets_markdown": small,
            "slices_markdown": f"| by | slice | figure | boost |\n|---|---|---|---:|\n| speaker | {cells} | wer | 1 |"
            f"\n| snr | {cells} | wer | 1 |\n\n{HOSTILE}",
            "reference_rules": {
                "overall": {"boost": {"asr_wer": 0.2, "asr_replies_cut": 1}},
                "limit": HOSTILE,
                "listener": "x",
                "stands_in": "y",
            },
        },
        "latency": {
            "modes": {"boost": {"first_chunk_ms_p50": 53.0, "tokens_per_second_p50": 99.0, "speedup": 2.0}},
            "hardware": {
                "cpu": HOSTILE, "gpu": None, "cores": 2, "threads": 1, "memory_gib": 8, "dtype": "float32",
                "torch": "2",
            },
            "hardware_digest": "f" * 64,
            "load_average": 1.0,
            "load_average_after": 2.0,
            "others_cpu_share": 0.5,
            "latency_markdown": small,
            "latency_by_prompt_markdown": f"### {HOSTILE}\n\n{small}\n\nthe end",
        },
        "profile": "debug",
        "base": {"source": HOSTILE, "licence": HOSTILE},
        "stages": [stage("text_audio_alignment", 0), stage("sft", 10)],
        "data": DataFacts(
            shares=[CorpusShare(HOSTILE, (HOSTILE,), 10, 20, 300, 0.5, 1)],
            corpora=[
                CorpusFacts(
                    HOSTILE, "0" * 64, Balance("c", 5, 3, 2, 0, 0, 0), (HOSTILE,), {"train": 0.2}, ((HOSTILE, 2),)
                )
            ],
            absent=[HOSTILE],
            is_same=False,
            leakage=Verdict(1, [dict.fromkeys(("evaluation_set", "rule", "action", "corpus", "rows"), HOSTILE)], []),
            sets={HOSTILE: {"training_rows": 1, "evaluation_rows": 2}},
            duplicates={"audio": 1},
            forgotten=["r"],
        ),
        "plots": {"first_sound.png": b"png", "tokens_per_second.png": b"png"},
        "samples": Samples([sample(), sample(prompt=NoSound(HOSTILE), reply=NoSound("silent"))], HOSTILE),
    }  # fmt: skip
    return VersionFacts(**(values | changes))


def bare_facts() -> VersionFacts:
    """A version that only the registry knows."""
    return VersionFacts("2", "vita-audio-mctp", None, "2026-01-02 00:00 UTC", None, {}, [], {})


class Page(HTMLParser):
    """What a page is made of: its elements with their attributes, and its visible text."""

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.style, self.text = "", ""
        self.feed(html.decode("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.text += data

    def named(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]
