"""The latency benchmark's plots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from training_jobs.latency_figures import ModeFigures, PromptFigures, Spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PARTS = {
    "audio encoder": "tab:gray",
    "prefill": "tab:blue",
    "to the first chunk": "tab:orange",
    "chunk to sound": "tab:green",
}


def first_sound_figure(prompts: Sequence[PromptFigures]) -> Figure:
    """Where the time until the first chunk, and until the first sound, goes: medians per mode.

    A column for each length of prompt; above what the model takes, below everything.
    """
    # Made without pyplot: no global state, and no window system is looked for.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 + 4 * len(prompts), 6), layout="constrained")
    figure.suptitle("From the end of the question (medians; line to p95)")
    panels = figure.subplots(2, len(prompts), squeeze=False)
    for column, figures in enumerate(prompts):
        _stacks(panels[0][column], figures, is_whole=False)
        _stacks(panels[1][column], figures, is_whole=True)
    handles = [_patch(colour, name) for name, colour in _PARTS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(_PARTS), fontsize="small")
    return figure


def rate_figure(prompts: Sequence[PromptFigures]) -> Figure:
    """Tokens per second with and without prefill: medians per mode, groups by length of prompt."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    panels: list[Axes] = list(figure.subplots(1, 2, sharey=True))
    modes = [mode.mode for mode in prompts[0].modes]
    width = 0.8 / len(modes)
    for axes, name, title in (
        (panels[0], "tokens_per_second", "with prefill"),
        (panels[1], "decode_tokens_per_second", "without prefill"),
    ):
        for index, mode in enumerate(modes):
            rates: list[Spread] = [getattr(figures.modes[index], name) for figures in prompts]
            axes.bar(
                np.arange(len(prompts)) + (index - (len(modes) - 1) / 2) * width,
                [rate.p50 for rate in rates],
                width,
                yerr=([rate.p50 - rate.p95 for rate in rates], [0.0] * len(rates)),
                label=mode,
                color=colormaps["viridis"](index / len(modes)),
                capsize=3,
            )
        axes.set_xticks(range(len(prompts)), [f"{figures.prompt_tokens:,}" for figures in prompts])
        axes.set(title=f"Tokens per second, {title}", xlabel="tokens of the prompt")
        axes.grid(alpha=0.3, axis="y")
    panels[0].set_ylabel("median; line to the slow end's p95")
    panels[1].legend(fontsize="small")
    return figure


def _stacks(axes: Axes, figures: PromptFigures, is_whole: bool) -> None:
    names = [mode.mode for mode in figures.modes]
    furthest = 0.0
    for row, mode in enumerate(figures.modes):
        left = 0.0
        for name, value in _parts(figures, mode, is_whole).items():
            axes.barh(row, value, left=left, color=_PARTS[name])
            left += value
        last = mode.first_chunk_ms
        if is_whole and isinstance(mode.first_sound_ms, Spread):
            last = mode.first_sound_ms
        late = left + last.p95 - last.p50
        axes.plot([left, late], [row, row], color="black", linewidth=1.5)
        axes.annotate(f" {left:,.1f}", (late, row), va="center", fontsize="small")
        furthest = max(furthest, late)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.2 * furthest)
    axes.set(title=_title(figures, is_whole), xlabel="ms")
    axes.grid(alpha=0.3, axis="x")


def _title(figures: PromptFigures, is_whole: bool) -> str:
    prompt = f"prompt of {figures.prompt_tokens:,} tokens ({figures.audio_seconds:.1f} s of speech)"
    if not is_whole:
        return f"First chunk, {prompt}"
    spreads = {"encoder": figures.audio_encoder_ms, "decoder": figures.chunk_decoder_ms}
    missing = [name for name, spread in spreads.items() if not isinstance(spread, Spread)]
    return f"First sound, {prompt}" + (f"\nnot measured: {', '.join(missing)}" if missing else "")


def _parts(figures: PromptFigures, mode: ModeFigures, is_whole: bool) -> dict[str, float]:
    """Medians that follow one another; what was not measured is left out."""
    parts = {"prefill": mode.prefill_ms.p50}
    if is_whole and isinstance(figures.audio_encoder_ms, Spread):
        parts = {"audio encoder": figures.audio_encoder_ms.p50, **parts}
    parts["to the first chunk"] = mode.first_chunk_ms.p50 - mode.prefill_ms.p50
    if is_whole and isinstance(mode.first_sound_ms, Spread):
        parts["chunk to sound"] = mode.first_sound_ms.p50 - mode.first_chunk_ms.p50
    return parts


def _patch(colour: str, name: str) -> object:
    from matplotlib.patches import Patch

    return Patch(color=colour, label=name)
