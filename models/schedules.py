"""Decode schedules: counts of backbone and of MCTP steps in turn."""

from __future__ import annotations

from collections.abc import Sequence

from models.errors import ModelError

# The last pair repeats (DESIGN §5).
SCHEDULES: dict[str, list[int]] = {
    "vanilla": [1, 0],
    "balance": [1, 4, 3, 8, 4, 10],
    "boost": [1, 10, 4, 10],
    "turbo": [1, 10],
}


def schedule_pairs(schedule: Sequence[int], modules: int) -> list[tuple[int, int]]:
    """The schedule as pairs of (backbone steps, MCTP steps).

    Raises:
        ModelError: if it is no list of such pairs, or takes more MCTP steps in a row than there are ``modules``.
    """
    counts = list(schedule)
    pairs = list(zip(counts[::2], counts[1::2], strict=False))
    if not pairs or len(counts) % 2 or any(backbone < 1 or mctp < 0 for backbone, mctp in pairs):
        raise ModelError(
            f"schedule {counts} must be pairs of a count of backbone steps of at least 1 and a count of MCTP steps "
            "of at least 0"
        )
    most = max(mctp for _, mctp in pairs)
    if most > modules:
        raise ModelError(
            f"schedule {counts} takes {most} MCTP steps in a row, but the model has {modules} modules"
        )
    return pairs
