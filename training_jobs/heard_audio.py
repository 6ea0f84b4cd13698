"""Which stored form of a recording an audio tokenizer hears: that at its own rate, made from the source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from validation.batches import database, files_of
from validation.errors import UserError
from validation.lake import Lake
from validation.stored_audio import STORED_RATE_HZ, VIEW_RATE_HZ
from validation.tasks import NOISE

OwnRate = Literal["auto", 16_000, 22_050]


class MissingViewError(UserError):
    """A corpus without the 16 kHz view that the tokenizer wants; names it, and the setting that makes one."""


def heard_path(rate_hz: int) -> str:
    """The column of ``accepted_utterances`` with the path of what a tokenizer of that rate hears.

    It is the 16 kHz view for one of that rate: what is stored at 22,050 Hz has been resampled once already.
    """
    return "view_path" if rate_hz == VIEW_RATE_HZ else "audio_path"


def own_rate(lake: Lake, corpora: Sequence[str], wanted: OwnRate) -> int:
    """The rate at which a tokenizer is trained; ``auto``: 16 kHz where every corpus with audio has the view.

    Raises:
        MissingViewError: where 16 kHz is wanted and a corpus has none.
    """
    if wanted == "auto":
        return (
            VIEW_RATE_HZ if not _without_view(lake, corpora) and _has_view(lake, corpora) else STORED_RATE_HZ
        )
    require_heard(lake, corpora, wanted)
    return wanted


def require_heard(lake: Lake, corpora: Sequence[str], rate_hz: int) -> None:
    """Refuse corpora that a tokenizer of that rate cannot hear.

    Raises:
        MissingViewError: naming them.
    """
    if rate_hz == VIEW_RATE_HZ and (without := _without_view(lake, corpora)):
        raise MissingViewError(
            f"the audio tokenizer works at {VIEW_RATE_HZ} Hz, and the corpora {without} have no view at that rate: "
            "write `audio: {view_16k: true}` into their entries"
        )


def _without_view(lake: Lake, corpora: Sequence[str]) -> list[str]:
    return [corpus for corpus in corpora if _counts(lake, corpus)[1]]


def _has_view(lake: Lake, corpora: Sequence[str]) -> bool:
    return any(_counts(lake, corpus)[0] for corpus in corpora)


def _counts(lake: Lake, corpus: str) -> tuple[int, int]:
    """How many accepted recordings have a view and how many have none; noise is not heard."""
    statement = f"""SELECT count(view_path), count(*) - count(view_path)
        FROM {files_of(lake, "accepted_utterances", [corpus])}
        WHERE audio_path IS NOT NULL AND NOT list_contains(tasks, ?)"""  # noqa: S608 - the paths are quoted
    with database(lake) as connection:
        ((seen, unseen),) = connection.execute(statement, [NOISE]).fetchall()
    return int(seen), int(unseen)
