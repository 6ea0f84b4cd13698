"""Spoken questions and their one-word answers; every answer follows from its question."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from assets.sample.grammar import ANIMALS, COLORS, DAYS, NUMBERS, OPPOSITES

SYSTEM_MESSAGE = "Answer in one word."


@dataclass(frozen=True)
class Question:
    """A question of one kind, and its answer."""

    kind: str
    text: str
    answer: str


def all_questions() -> list[Question]:
    """Every question of every kind, in a fixed order, no text twice."""
    sums = [
        Question("sum", template.format(NUMBERS[a], NUMBERS[b]), NUMBERS[a + b])
        for template, a, b in product(("what is {} plus {}", "tell me {} plus {}"), range(1, 4), range(1, 4))
    ]
    next_days = [
        Question("next_day", f"what comes after {day}", DAYS[(index + 1) % len(DAYS)])
        for index, day in enumerate(DAYS)
    ]
    next_numbers = [
        Question("next_number", f"what comes after {NUMBERS[number]}", NUMBERS[number + 1])
        for number in range(1, 7)
    ]
    kinds = [
        *(Question("kind", f"is {color} {kind}", "yes" if kind == "a color" else "no")
          for color, kind in product(COLORS, ("a color", "an animal"))),
        *(Question("kind", f"is a {animal} {kind}", "yes" if kind == "an animal" else "no")
          for animal, kind in product(ANIMALS, ("a color", "an animal"))),
    ]  # fmt: skip
    opposites = [
        Question("opposite", f"what is the opposite of {word}", other)
        for first, second in OPPOSITES
        for word, other in ((first, second), (second, first))
    ]
    return [*sums, *next_days, *next_numbers, *kinds, *opposites]
