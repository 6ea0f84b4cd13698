"""What a run is trained on, as MLflow keeps it: a dataset with its digest, its place, and what each source gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_DIGEST_CHARACTERS = 36  # MLflow keeps no more


@dataclass(frozen=True)
class TrackedData:
    """A dataset of a run.

    Attributes:
        name: in MLflow one name and digest stand for one dataset.
        digest: of what it holds, 36 characters at most.
        place: directory of it.
        counts: rows (each once), samples (as often as they are drawn), tokens and hours of audio, altogether and, below
            ``sources``, of each corpus and task, there with the share of the tokens.
    """

    name: str
    digest: str
    place: Path
    counts: dict[str, Any]

    def tags(self) -> dict[str, str]:
        """What MLflow's pages show beside the name."""
        totals = {name: str(self.counts[name]) for name in ("rows", "samples", "tokens", "hours")}
        return {"mlflow.data.context": "training", **totals}


def drawn_dataset(mixture: str, packs_dir: Path, plan: Mapping[str, Any]) -> TrackedData:
    """The pack of a mixture, by its plan.

    Two packs may hold other draws of the same data: so the name says which pack it is, and the digest which data.
    """
    sources = drawn_of_sources(plan["sources"])
    return TrackedData(
        name=f"{mixture}-{packs_dir.name}",
        digest=str(plan["data_digest"])[:_DIGEST_CHARACTERS],
        place=packs_dir,
        counts={
            "data_digest": plan["data_digest"],
            **{
                name: round(sum(one[name] for one in sources.values()), 4)
                for name in ("rows", "samples", "tokens", "hours")
            },
            "sources": sources,
        },
    )


def drawn_of_sources(sources: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """For each source (``corpus/task``) what was drawn: rows, samples, tokens, hours, and its share of all tokens."""
    total = sum(counts["tokens"] for counts in sources.values())
    return {
        name: {
            "rows": counts["drawn"],
            "samples": counts["samples"],
            "tokens": counts["tokens"],
            "hours": counts["hours"],
            "share": round(counts["tokens"] / total, 6) if total else 0.0,
        }
        for name, counts in sources.items()
    }
