"""Split rules: which utterances are held out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, field_validator

from assets.corpora.options import checked_pattern
from assets.corpora.utterance import Utterance
from validation.strict import Strict

Split = Literal["train", "test"]
_HASH_BITS = 64


class FieldRule(Strict):
    """Held out where the field has one of these values."""

    by: Literal["field"]
    field: str
    values: tuple[str, ...] = Field(min_length=1)

    @field_validator("values")
    @classmethod
    def _in_order(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        # Their order means nothing, so it must not make anything stale.
        return tuple(sorted(set(values)))

    def matches(self, value: str) -> bool:
        """Whether the utterance is held out."""
        return value in self.values


class PatternRule(Strict):
    """Held out where the regular expression is found in the field."""

    by: Literal["pattern"]
    field: str
    pattern: str

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        return checked_pattern(pattern)

    def matches(self, value: str) -> bool:
        """Whether the utterance is held out."""
        return re.search(self.pattern, value) is not None


class HashRule(Strict):
    """Held out: a fixed share of the field's values, by SHA-256, so that adding data moves nobody."""

    by: Literal["hash"]
    field: str
    fraction: float = Field(gt=0, lt=1)

    def matches(self, value: str) -> bool:
        """Whether the utterance is held out."""
        state = hashlib.sha256(value.encode()).digest()
        return int.from_bytes(state[: _HASH_BITS // 8], "big") < self.fraction * (1 << _HASH_BITS)


SplitRule = Annotated[FieldRule | PatternRule | HashRule, Field(discriminator="by")]


def split_of(utterance: Utterance, rules: Sequence[FieldRule | PatternRule | HashRule]) -> Split:
    """``test`` where any rule matches, else ``train``."""
    held_out = any(rule.matches(utterance.field_value(rule.field)) for rule in rules)
    return "test" if held_out else "train"
