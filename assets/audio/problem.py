"""What is wrong with one audio file, as a value that crosses process borders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from validation.errors import UserError

if TYPE_CHECKING:
    from validation.ledger import Reason


@dataclass(frozen=True, slots=True)
class AudioProblem:
    """Why a file, or one segment of it, goes no further.

    Attributes:
        reason: The ledger's reason.
        detail: For a person, without the file's name (the same content may lie under several names).
        value: What was found, where it is a number.
        limit: What was expected or allowed.
    """

    reason: Reason
    detail: str
    value: float | None = None
    limit: float | None = None


class AudioFaultError(UserError):
    """A fault of the file under the hand; carries the problem to the ledger."""

    def __init__(self, problem: AudioProblem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def fault(
    reason: Reason, detail: str, value: float | None = None, limit: float | None = None
) -> AudioFaultError:
    """The error that carries such a problem."""
    return AudioFaultError(AudioProblem(reason, detail, value, limit))


def truncated(missing: tuple[int, int, str] | None) -> AudioFaultError | None:
    """The fault of a recording with less than it promises: ``(found, promised, unit)``.

    With nothing at all there is no recording to have been cut: a header alone says so when it is opened.
    """
    if missing is None or not missing[0]:
        return None
    found, promised, unit = missing
    detail = f"promises {promised} {unit} and has {found}"
    return fault("truncated", detail, float(found), float(promised))
