"""Plots as data-URI PNGs in markdown: what Dagster shows beside a materialisation."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure_markdown(figure: Figure, title: str) -> str:
    """A figure as an image inside markdown."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    return f"![{title}](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})"


def loss_curve_markdown(title: str, steps: Sequence[int], curves: Mapping[str, Sequence[float]]) -> str:
    """Loss over steps, one line per curve.

    Args:
        title: Shown above the plot.
        steps: Steps of the points, shared by all curves.
        curves: Losses in nats per token by name; the first is drawn thick.
    """
    # Made without pyplot: no global state, and no window system is looked for.
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    colours = colormaps["viridis"]
    for index, (name, losses) in enumerate(curves.items()):
        if index == 0:
            axes.plot(steps, losses, label=name, linewidth=2, color="tab:red")
        else:
            axes.plot(
                steps, losses, label=name, linewidth=1, color=colours((index - 1) / max(1, len(curves) - 1))
            )
    axes.set(title=title, xlabel="step", ylabel="loss (nats per token)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", ncols=2)
    return figure_markdown(figure, title)
