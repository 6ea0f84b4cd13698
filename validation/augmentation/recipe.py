"""What a corpora file asks for under ``augmentation``: how many variants of a row, and what they go through."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, field_validator, model_validator

from validation.strict import StrictKeys

AugmentedTask = Literal["asr", "conversation", "tts"]
BandKind = Literal["telephone", "low_pass"]

Range = tuple[float, float]
_MOST_COPIES = 20


def _ordered(values: Range) -> Range:
    if values[0] > values[1]:
        raise ValueError(f"the range [{values[0]:g}, {values[1]:g}] is empty: the lower end comes first")
    return values


def _within(low: float, high: float, unit: str) -> AfterValidator:
    def check(values: Range) -> Range:
        if values[0] < low or values[1] > high:
            raise ValueError(
                f"[{values[0]:g}, {values[1]:g}] is beyond what is allowed, {low:g} to {high:g} {unit}"
            )
        return values

    return AfterValidator(check)


Decibels = Annotated[Range, AfterValidator(_ordered), _within(-40.0, 40.0, "dB")]
NoiseRatio = Annotated[Range, AfterValidator(_ordered), _within(-10.0, 60.0, "dB")]
Semitones = Annotated[Range, AfterValidator(_ordered), _within(-12.0, 12.0, "semitones")]
CutFrequencies = Annotated[Range, AfterValidator(_ordered), _within(500.0, 7500.0, "Hz")]
Factor = Annotated[float, Field(ge=0.5, le=2.0)]


class _Settings(StrictKeys):
    model_config = ConfigDict(allow_inf_nan=False)


class Transform(_Settings):
    """One thing that may happen to a recording.

    Attributes:
        probability: That it happens to a copy.
    """

    probability: float = Field(default=1.0, gt=0, le=1)


class Speed(Transform):
    """Played faster or slower, as by a tape: tempo and pitch change together.

    Attributes:
        factors: 1.1 is faster by a tenth. The copies of a recording take turns at them: with as many copies as factors,
            each recording has them all. 1.0 leaves it as it is.
    """

    factors: tuple[Factor, ...] = Field(min_length=1)

    @field_validator("factors")
    @classmethod
    def _differ(cls, factors: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(factors)) != len(factors):
            raise ValueError(f"{list(factors)} names a factor twice; the copies take turns at them")
        if set(factors) == {1.0}:
            raise ValueError("the factor 1.0 alone changes nothing")
        return factors


class Noise(Transform):
    """Another recording mixed in.

    Attributes:
        corpus: Of the corpora file, read by ``untranscribed`` with ``purpose: noise``.
        snr_db: Power of the speech, its pauses left out, over that of the noise.
    """

    corpus: str = Field(min_length=1)
    snr_db: NoiseRatio


class Gain(Transform):
    """Louder or softer, no louder than the ceiling of all variants lets it."""

    db: Decibels

    @field_validator("db")
    @classmethod
    def _does_something(cls, values: Range) -> Range:
        return _not_nothing(values)


class Band(Transform):
    """Only a part of the frequencies is left.

    Attributes:
        kinds: Which one of them, all equally likely. ``telephone``: 300 to 3400 Hz. ``low_pass``: up to a frequency
            drawn from ``low_pass_hz``.
    """

    kinds: tuple[BandKind, ...] = Field(min_length=1)
    low_pass_hz: CutFrequencies = (3000.0, 7000.0)

    @model_validator(mode="after")
    def _is_used(self) -> Band:
        if len(set(self.kinds)) != len(self.kinds):
            raise ValueError(f"kinds: {list(self.kinds)} names a kind twice")
        if "low_pass_hz" in self.model_fields_set and "low_pass" not in self.kinds:
            raise ValueError("low_pass_hz has no effect without the kind low_pass")
        return self


class Pitch(Transform):
    """A higher or lower voice that speaks as fast as before."""

    semitones: Semitones

    @field_validator("semitones")
    @classmethod
    def _does_something(cls, values: Range) -> Range:
        return _not_nothing(values)


class Formant(Transform):
    """A larger or smaller speaker: the envelope of the spectrum moves, the pitch stays.

    Attributes:
        semitones: Up is a smaller head; 2 is about the step from a man's to a woman's.
    """

    semitones: Annotated[Semitones, _within(-6.0, 6.0, "semitones")]

    @field_validator("semitones")
    @classmethod
    def _does_something(cls, values: Range) -> Range:
        return _not_nothing(values)


def _not_nothing(values: Range) -> Range:
    if values == (0.0, 0.0):
        raise ValueError("the range [0, 0] changes nothing")
    return values


class Recipe(_Settings):
    """Variants of each training row; transforms are applied in the order of these attributes.

    Attributes:
        copies: Variants besides the original, at most: a copy for which nothing was drawn, or the same as for an
            earlier one, is not made.
        tasks: Rows that get variants. Of ``asr`` and ``conversation`` the audio that is heard is changed, never the
            answer's. Of ``tts`` it is what the model learns to say, so that only speed and gain are applied to it.
        seed: Another one draws everything anew.
    """

    copies: int = Field(ge=0, le=_MOST_COPIES)
    tasks: tuple[AugmentedTask, ...] = Field(default=("asr", "conversation"), min_length=1)
    seed: int = Field(default=0, ge=0)
    speed: Speed | None = None
    pitch: Pitch | None = None
    formant: Formant | None = None
    noise: Noise | None = None
    band: Band | None = None
    gain: Gain | None = None

    @property
    def transforms(self) -> tuple[Transform, ...]:
        """Those that it has, in the order in which they are applied."""
        every = (self.speed, self.pitch, self.formant, self.noise, self.band, self.gain)
        return tuple(one for one in every if one is not None)

    def for_targets(self) -> Recipe:
        """What of it is applied to audio that the model learns to say."""
        return self.model_copy(update={"pitch": None, "formant": None, "noise": None, "band": None})

    @model_validator(mode="after")
    def _does_what_it_says(self) -> Recipe:
        if len(set(self.tasks)) != len(self.tasks):
            raise ValueError(f"tasks: {list(self.tasks)} names a task twice")
        if not self.copies:
            return self
        if not self.transforms:
            names = "speed, pitch, formant, noise, band, gain"
            raise ValueError(f"copies: {self.copies} copies of nothing but the original; give one of {names}")
        if "tts" in self.tasks and not self.for_targets().transforms:
            raise ValueError(
                "tasks: tts has audio that the model learns to say, which only speed and gain change: give one of "
                "these, or leave tts out"
            )
        return self


NO_RECIPE = Recipe(copies=0)
