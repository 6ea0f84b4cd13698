"""Plots as data-URI PNGs in markdown: what Dagster shows beside a materialisation."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def figure_markdown(figure: Figure, title: str) -> str:
    """A figure as an image inside markdown."""
    return image_markdown(figure_png(figure), title)


def figure_png(figure: Figure) -> bytes:
    """A figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    return buffer.getvalue()


def image_markdown(png: bytes, title: str) -> str:
    """A PNG file as an image inside markdown."""
    return f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})"


def loss_curve_markdown(title: str, steps: Sequence[int], curves: Mapping[str, Sequence[float]]) -> str:
    """Loss over steps, one line per curve.

    Args:
        title: Shown above the plot.
        steps: Steps of the points, shared by all curves.
        curves: Losses in nats per token by name; the first is drawn thick.
    """
    figure, axes = _axes(title)
    for index, (name, losses) in enumerate(curves.items()):
        if index == 0:
            axes.plot(steps, losses, label=name, linewidth=2, color="tab:red")
        else:
            axes.plot(steps, losses, label=name, linewidth=1, color=_colour(index - 1, len(curves) - 1))
    return _legend_markdown(figure, axes, title)


def curves_markdown(title: str, curves: Mapping[str, tuple[Sequence[int], Sequence[float]]]) -> str:
    """Losses over steps, one line per curve, each with steps of its own; nothing where there is none."""
    if not curves:
        return ""
    figure, axes = _axes(title)
    for index, (name, (steps, losses)) in enumerate(curves.items()):
        marker = "." if len(steps) == 1 else None
        axes.plot(steps, losses, label=name, marker=marker, color=_colour(index, len(curves)))
    return _legend_markdown(figure, axes, title)


def _axes(title: str) -> tuple[Figure, Axes]:
    # Made without pyplot: no global state, and no window system is looked for.
    from matplotlib.figure import Figure

    # Margins that are given: to find them, everything would be drawn twice.
    figure = Figure(figsize=(8, 4.5))
    figure.subplots_adjust(left=0.12, right=0.98, bottom=0.12, top=0.93)
    axes = figure.add_subplot()
    axes.set(title=title, xlabel="step", ylabel="loss (nats per token)")
    axes.grid(alpha=0.3)
    return figure, axes


def _colour(index: int, count: int) -> Any:
    from matplotlib import colormaps

    return colormaps["viridis"](index / max(1, count))


def _legend_markdown(figure: Figure, axes: Axes, title: str) -> str:
    axes.legend(fontsize="small", ncols=2)
    return figure_markdown(figure, title)
