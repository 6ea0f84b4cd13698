"""What models other than the one that spoke say of a spoken reply."""

from __future__ import annotations

from dataclasses import dataclass

RowKey = tuple[str, str, str, str]  # corpus, row id, task, mode


@dataclass(frozen=True)
class Listened:
    """One spoken reply.

    Attributes:
        heard: what the ASR model heard, empty for a silent reply; ``None`` where none listens, or the language is not
            its own.
        mos: DNSMOS, 1 to 5, a silent reply's being 1; ``None`` where it is off.
    """

    heard: str | None = None
    mos: float | None = None
