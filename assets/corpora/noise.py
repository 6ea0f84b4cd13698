"""Corpora of noise: what is asked of recordings that are mixed into speech, and who may name them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assets.corpora.options import ReaderOptions
from assets.corpora.untranscribed import UntranscribedOptions
from validation.augmentation.recipe import Recipe
from validation.thresholds import Thresholds, load_thresholds

# Noise is none of what speech must be: clear of noise, lively, of some bandwidth, short. What is broken in any
# recording (silent, clipped, a dead channel) is so in noise.
NOISE_LIMITS: Mapping[str, Any] = {
    "max_duration_s": 3600.0,
    "max_longest_dropout_s": 3600.0,
    "max_silence_share": 1.0,
    "max_leading_silence_s": 3600.0,
    "max_trailing_silence_s": 3600.0,
    "min_snr_db": -1000.0,
    "review_snr_db": -999.0,
    "note_snr_db": -998.0,
    "max_hum_db": 1000.0,
    "min_dynamic_range_db": 0.0,
    "min_bandwidth_hz": 0.0,
    "min_bandwidth_share": 0.0,
    "min_speech_share": 0.0,
    "min_mos": 0.0,
}


def limits_of(options: ReaderOptions | None, own: Mapping[str, Any]) -> Thresholds:
    """What the rows of a corpus must be like: the project's thresholds, and its own over them.

    Raises:
        validation.thresholds.ThresholdError: naming the entry, the value and what is allowed.
    """
    return load_thresholds().overridden({**(NOISE_LIMITS if is_noise(options) else {}), **own})


def is_noise(options: ReaderOptions | None) -> bool:
    """Whether the recordings of a corpus with these options are for mixing into others."""
    return isinstance(options, UntranscribedOptions) and options.purpose == "noise"


def noise_fault(for_all: Recipe, corpora: Mapping[str, tuple[ReaderOptions, Recipe | None]]) -> str | None:
    """Which recipe names a corpus that is none of noise, and which ones are; ``None``: none does.

    Args:
        for_all: The recipe of the whole file.
        corpora: Options and own recipe of each corpus.
    """
    allowed = sorted(name for name, (options, _) in corpora.items() if is_noise(options))
    recipes = [("", for_all), *((f"corpus {name!r}: ", own) for name, (_, own) in corpora.items())]
    for label, recipe in recipes:
        if recipe is None or recipe.noise is None or recipe.noise.corpus in allowed:
            continue
        name = recipe.noise.corpus
        said = f"corpus {name!r} is none of noise" if name in corpora else f"there is no corpus {name!r}"
        wanted = "corpora with reader untranscribed and options purpose: noise"
        return f"{label}augmentation: noise.corpus: {said}; {wanted} are {allowed or 'not in this file'}"
    return None
