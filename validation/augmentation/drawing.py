"""Which values a copy of a recording gets.

Each value is a function of (seed, digest of the recording, copy, name of the value) and of its own range: neither the
order of the rows, nor other rows, nor another transform that is turned on or off changes it, and no generator's stream
that a library's next version might change is part of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from validation.augmentation.recipe import Band, Range, Recipe, Speed, Transform
from validation.augmentation.record import Augmentation, MixedNoise

TELEPHONE_HZ = (300.0, 3400.0)
# Digits of what is drawn: 0.01 dB and semitones, milliseconds. What is recorded is then just what is applied.
_STEP_DIGITS, _TIME_DIGITS = 2, 3


@dataclass(frozen=True, slots=True)
class NoiseRecording:
    """A recording that may be mixed in."""

    utterance_id: str
    licence: str
    audio_path: str
    audio_digest: str
    duration_s: float


class NoiseLibrary(Protocol):
    """The recordings of one noise corpus, in an order that depends on them only."""

    @property
    def corpus(self) -> str:
        """Its name."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> NoiseRecording: ...


@dataclass(frozen=True, slots=True)
class _Draws:
    """The random numbers of one copy of one recording, each by its name."""

    seed: int
    audio_digest: str
    copy: int

    def share(self, name: str) -> float:
        """From 0 up to, and without, 1."""
        key = f"{self.seed}\0{self.audio_digest}\0{self.copy}\0{name}"
        return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big") / 2**48

    def happens(self, transform: Transform | None, name: str) -> bool:
        """Whether a transform is applied."""
        return transform is not None and self.share(name) < transform.probability

    def within(self, values: Range, name: str) -> float:
        """A value of a range, with two decimals."""
        low, high = values
        return round(low + (high - low) * self.share(name), _STEP_DIGITS)

    def index(self, count: int, name: str) -> int:
        """One of ``count``."""
        return int(self.share(name) * count)


def draw(recipe: Recipe, audio_digest: str, copy: int, noises: NoiseLibrary | None = None) -> Augmentation:
    """What copy number ``copy`` (from 1) of a recording goes through; it may be nothing.

    Args:
        noises: Wanted, with at least one recording, where the recipe mixes noise in.
    """
    draws = _Draws(recipe.seed, audio_digest, copy)
    noise = None
    if recipe.noise is not None and draws.happens(recipe.noise, "noise"):
        assert noises, recipe.noise.corpus
        noise = _draw_noise(draws, noises, recipe.noise.snr_db)
    return Augmentation(
        speed=_draw_speed(draws, recipe.speed),
        pitch=_nonzero(draws, recipe.pitch, "pitch", recipe.pitch.semitones if recipe.pitch else None),
        formant=_nonzero(
            draws, recipe.formant, "formant", recipe.formant.semitones if recipe.formant else None
        ),
        noise=noise,
        band=_draw_band(draws, recipe.band),
        gain=_nonzero(draws, recipe.gain, "gain", recipe.gain.db if recipe.gain else None),
    )


def copies_of(
    recipe: Recipe, audio_digests: Sequence[str], noises: NoiseLibrary | None = None
) -> Iterator[tuple[int, list[Augmentation]]]:
    """The variants of a row: number of the copy, and what each of its audios goes through.

    A copy for which nothing was drawn, or the same as for an earlier one, is not among them.
    """
    seen: set[tuple[str, ...]] = set()
    for copy in range(1, recipe.copies + 1):
        drawn = [draw(recipe, digest, copy, noises) for digest in audio_digests]
        if all(one.is_nothing for one in drawn):
            continue
        key = tuple(one.digest for one in drawn)
        if key not in seen:
            seen.add(key)
            yield copy, drawn


def _draw_speed(draws: _Draws, speed: Speed | None) -> float | None:
    if speed is None or not draws.happens(speed, "speed"):
        return None
    # The copies take turns, from a place of the recording's own, whatever their number.
    first = _Draws(draws.seed, draws.audio_digest, 0).index(len(speed.factors), "first factor")
    factor = speed.factors[(first + draws.copy) % len(speed.factors)]
    return None if factor == 1.0 else factor


def _draw_noise(draws: _Draws, noises: NoiseLibrary, snr_db: Range) -> MixedNoise:
    recording = noises[draws.index(len(noises), "noise recording")]
    return MixedNoise(
        corpus=noises.corpus,
        utterance_id=recording.utterance_id,
        licence=recording.licence,
        audio_path=recording.audio_path,
        audio_digest=recording.audio_digest,
        offset_s=round(recording.duration_s * draws.share("noise offset"), _TIME_DIGITS),
        snr_db=draws.within(snr_db, "noise ratio"),
    )


def _draw_band(draws: _Draws, band: Band | None) -> tuple[float, float] | None:
    if band is None or not draws.happens(band, "band"):
        return None
    if band.kinds[draws.index(len(band.kinds), "band kind")] == "telephone":
        return TELEPHONE_HZ
    return (0.0, float(round(draws.within(band.low_pass_hz, "band cut"))))


def _nonzero(draws: _Draws, transform: Transform | None, name: str, values: Range | None) -> float | None:
    if values is None or not draws.happens(transform, name):
        return None
    return draws.within(values, f"{name} value") or None
