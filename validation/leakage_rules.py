"""Which rows are for evaluation only, and what training must not share with them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, field_validator

from validation.strict import Strict

Rule = Literal["audio", "near_audio", "text", "speaker", "mixture"]
RULES: tuple[Rule, ...] = get_args(Rule)
Action = Literal["block", "report", "ignore"]
ACTIONS: tuple[Action, ...] = get_args(Action)

HELD_OUT = "held_out"
MIXTURES = "mixtures"


class Rules(Strict):
    """What becomes of a training row that shares something with an evaluation set.

    ``block`` refuses it: nothing is trained until it is gone. ``report`` lists it in the table ``leakage``.

    Attributes:
        audio: The very same samples.
        near_audio: The same recording, re-encoded, resampled, louder or softer, or longer by silence.
        text: The same words by the same speaker. Punctuation, case and spaces make no difference. Rows of unknown
            speakers are one speaker's within their corpus; text without audio is nobody's.
        speaker: A voice that training must not hear: see :attr:`EvaluationSet.speakers`.
    """

    audio: Action = "block"
    near_audio: Action = "block"
    text: Action = "block"
    speaker: Action = "block"


class EvaluationSet(Strict):
    """Rows that figures are reported on.

    Attributes:
        corpora: Corpora of the set; none: all of them.
        rows: ``test``: what the corpora's split rules hold out. ``all``: every row; those that are in the training
            split are refused as training rows.
        speakers: Which of its speakers training must not hear. ``held_out``: those that a split rule on the field
            ``speaker`` holds out. ``all``: all of them. Names are compared across corpora: to tell two people of one
            name apart, give one of them another name where their corpus is read.
    """

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    corpora: tuple[str, ...] = ()
    rows: Literal["test", "all"] = "test"
    speakers: Literal["held_out", "all"] = "held_out"
    rules: Rules = Rules()

    @field_validator("name")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if name == MIXTURES:
            raise ValueError(f"{MIXTURES} is taken: the mixtures' own findings have this name")
        return name


class Evaluation(Strict):
    """The key ``evaluation`` of a corpora file.

    Attributes:
        sets: Without any, what the split rules hold out is one set, ``held_out``, of which copies and the same text by
            the same speaker are reported and the other rules block.
        mixtures: Mixture files in VITA-Audio's form, of which no part may be a development or test set by its name.
    """

    sets: tuple[EvaluationSet, ...] = Field(
        default=(EvaluationSet(name=HELD_OUT, rules=Rules(near_audio="report", text="report")),), min_length=1
    )
    mixtures: tuple[Path, ...] = ()

    @field_validator("sets")
    @classmethod
    def _differ(cls, sets: tuple[EvaluationSet, ...]) -> tuple[EvaluationSet, ...]:
        names = [one.name for one in sets]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two sets have the name {twice[0]!r}; names must differ")
        return sets

    def unknown_corpora(self, known: Collection[str]) -> list[str]:
        """Corpora of the sets that are not among the ``known`` ones."""
        return sorted({corpus for one in self.sets for corpus in one.corpora} - set(known))

    def below(self, folder: Path) -> Evaluation:
        """The same with paths that were relative to ``folder``."""
        return self.model_copy(update={"mixtures": tuple(folder / path for path in self.mixtures)})
