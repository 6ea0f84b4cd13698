"""Profiles of a corpus over time: one small JSON file for each state in which a run has left it.

``profiles/<corpus>/000001.json`` and on. A state is compared with the last one before it that was *taken for good*: it
was the first, or was within the limits itself, or a person has accepted it (``voxline report --accept-drift``). What
it is compared with is written with it and never changes, so that running again does not make a drift go away. Limits
are those of now.
"""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import ValidationError

from assets.report.facts import Count, Facts
from validation.drift import Amount, DriftLimits, Finding, MeasureProfile, Profile, find_drift
from validation.errors import UserError
from validation.histograms import Cells
from validation.lake import Lake
from validation.scales import SCALES
from validation.strict import Strict

ACCEPTED_PART = "accepted"
_HOURS_DECIMALS = 6
_VALUE_DIGITS = 6
_MOST_LANGUAGES = 100


class Accepted(Strict):
    """Who took a drifted state for good, and when (UTC)."""

    by: str
    at: str


class Record(Strict):
    """One state of a corpus.

    Attributes:
        number: From 1.
        inputs: Digest of the tables that it was made from.
        at: When it was first seen (UTC); in no digest.
        compared_with: Number of the state that it is compared with; ``None`` for the first.
        accepted: That a person took it for good although it had drifted.
    """

    number: int
    inputs: str
    at: str
    profile: Profile
    compared_with: int | None = None
    accepted: Accepted | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The last state of a corpus against the one that it is compared with.

    Attributes:
        before: ``None`` where it is the first.
    """

    now: Record
    before: Record | None
    findings: tuple[Finding, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether it is within the limits, or was accepted."""
        return not self.findings or self.now.accepted is not None


def make_profile(facts: Facts, cells: Cells) -> Profile:
    """The profile of a corpus."""
    measures = {}
    for scale in SCALES:
        found = cells.distribution(scale, [ACCEPTED_PART])
        if found.rows:
            quantiles = tuple(float(f"{value:.{_VALUE_DIGITS}g}") for value in found.quantiles)
            measures[scale.column] = MeasureProfile(rows=found.rows, quantiles=quantiles)
    return Profile(
        read=Amount(rows=facts.total.read, hours=round(facts.total.hours, _HOURS_DECIMALS)),
        outcomes={one.name: _amount(one.read, one.hours) for one in facts.outcomes},
        splits={one.name: _accepted(one) for one in facts.splits if one.accepted},
        languages={one.name: _accepted(one) for one in facts.languages[:_MOST_LANGUAGES] if one.accepted},
        reasons={one.reason: _amount(one.rows, one.hours) for one in facts.reasons},
        measures=measures,
        voices=facts.voices[1],
    )


def read_records(lake: Lake, corpus: str) -> list[Record]:
    """All states, the oldest first.

    Raises:
        UserError: naming a file that is no profile.
    """
    found = []
    for path in lake.list_files(_folder(corpus)):
        try:
            found.append(Record.model_validate(lake.read_json(path)))
        except (ValidationError, ValueError) as error:
            raise UserError(f"{lake.uri(path)} is no profile of a corpus: {error}") from error
    return sorted(found, key=lambda record: record.number)


def append_record(
    lake: Lake, corpus: str, inputs: str, profile: Profile, records: Sequence[Record], limits: DriftLimits
) -> Record:
    """Write a new state after ``records``, which are all there are."""
    reference = taken_for_good(records, limits)
    record = Record(
        number=records[-1].number + 1 if records else 1,
        inputs=inputs,
        at=_now(),
        profile=profile,
        compared_with=None if reference is None else reference.number,
    )
    _write(lake, corpus, record)
    return record


def taken_for_good(records: Sequence[Record], limits: DriftLimits) -> Record | None:
    """The last state that was the first, within the limits, or accepted."""
    for end in range(len(records), 0, -1):
        found = compare(records[:end], limits)
        if found is not None and found.passed:
            return found.now
    return None


def compare(records: Sequence[Record], limits: DriftLimits) -> Comparison | None:
    """The last state against the one that it is compared with; ``None`` where there is no state."""
    if not records:
        return None
    now = records[-1]
    before = next((record for record in records if record.number == now.compared_with), None)
    if before is None:
        return Comparison(now, None)
    return Comparison(now, before, tuple(find_drift(before.profile, now.profile, limits)))


def accept_last(lake: Lake, corpus: str) -> Record:
    """Take the corpus' last state for good.

    Raises:
        UserError: if it has none.
    """
    records = read_records(lake, corpus)
    if not records:
        raise UserError(f"corpus {corpus!r} has no profile in {lake.url} yet: run it first")
    record = records[-1]
    if record.accepted is None:
        record = record.model_copy(update={"accepted": Accepted(by=getpass.getuser(), at=_now())})
        _write(lake, corpus, record)
    return record


def _write(lake: Lake, corpus: str, record: Record) -> None:
    lake.write_json(f"{_folder(corpus)}/{record.number:06}.json", record.model_dump(mode="json"))


def _folder(corpus: str) -> str:
    return f"profiles/{corpus}"


def _amount(rows: int, hours: float) -> Amount:
    return Amount(rows=rows, hours=round(hours, _HOURS_DECIMALS))


def _accepted(one: Count) -> Amount:
    return _amount(one.accepted, one.accepted_hours)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
