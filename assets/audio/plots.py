"""What people look at in Dagster: histograms of the measures and a table of the ledger's reasons, as Markdown.

Dagster keeps what it is told in its event log for good. So no name of a row, speaker or file and no text is told to
it: what is forgotten later would stay there. Matplotlib, half a second's import, is imported where something is drawn:
every start of ``voxline`` loads this module.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from validation.batches import database, files_of, frame_of, parquet
from validation.checks import CHECKS
from validation.histograms import Cells, Distribution, count_cells
from validation.lake import Lake
from validation.ledger import LEDGER_STAGES, OUTCOME_OF, ledger_partition
from validation.scales import SCALES, Scale
from validation.thresholds import Thresholds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 4
_PANEL_INCHES = (2.9, 2.1)
_BLUE, _ORANGE, _RED = "#2b6cb0", "#c2500f", "#b3261e"


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that are drawn as one: their name, and their part of the cells (all parts where ``None``)."""

    name: str
    part: str | None = None


def quality_cells(lake: Lake, corpora: Sequence[str]) -> Cells:
    """The measures of all recordings of the corpora, counted."""
    files = files_of(lake, "audio_quality", corpora)
    with database(lake) as connection:
        return count_cells(connection, f"SELECT *, 'all' AS part FROM {files}")  # noqa: S608 - paths are quoted


def histograms_markdown(
    cells: Cells,
    title: str,
    groups: Sequence[Group] = (Group("recordings"),),
    limits: Thresholds | None = None,
) -> str:
    """A histogram of each measure that was taken as one PNG, embedded in Markdown.

    Args:
        groups: The first is drawn as an area, the second as a line, each as shares of its own rows.
        limits: Drawn in where given, those for the language ``default``.
    """
    from matplotlib.figure import Figure

    panels = [
        (scale, [cells.distribution(scale, None if group.part is None else [group.part]) for group in groups])
        for scale in SCALES
    ]
    panels = [panel for panel in panels if any(found.rows for found in panel[1])]
    if not panels:
        return f"{title}: no audio"
    rows = -(-len(panels) // _COLUMNS)
    height = _PANEL_INCHES[1] * rows
    figure = Figure(figsize=(_PANEL_INCHES[0] * _COLUMNS, height))
    # Not the layout that measures every label: it takes as long as all else.
    figure.subplots_adjust(
        left=0.05, right=0.985, bottom=0.45 / height, top=1 - 0.6 / height, wspace=0.28, hspace=0.75
    )
    # One measure may be missing where others are not: the length never is.
    counts = ", ".join(
        f"{found.rows:,} {group.name}" for group, found in zip(groups, panels[0][1], strict=True)
    )
    figure.suptitle(f"{title}: {counts}", fontsize=10, y=1 - 0.15 / height)
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axis, (scale, found) in zip(axes, panels, strict=False):
        _draw(axis, scale, found, limits)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    return figure_markdown(figure, f"measures of {title}")


def figure_markdown(figure: Figure, alternative: str) -> str:
    """The figure as a PNG inside a Markdown image."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure)  # a canvas without a screen, whatever the environment says
    figure.savefig(buffer, format="png")
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"![{alternative}](data:image/png;base64,{data})"


def reasons_table(lake: Lake, corpora: Sequence[str]) -> str:
    """Markdown: for each reason its outcome, and its number and share of the rows of each corpus."""
    counts: dict[tuple[str, str], int] = {}
    totals = dict.fromkeys(corpora, 0)
    with database(lake) as connection:
        for corpus in corpora:
            names = [ledger_partition(corpus, stage) for stage in LEDGER_STAGES]
            paths = [lake.table_path("ledger", name) for name in names if lake.has_table("ledger", name)]
            if not paths:
                continue
            statement = f"SELECT reason, count(*) FROM {parquet(lake, paths)} GROUP BY 1"  # noqa: S608 - quoted
            for reason, rows in frame_of(connection, statement).iter_rows():
                counts[corpus, reason] = rows
                totals[corpus] += rows
    lines = ["| outcome | reason | " + " | ".join(corpora) + " |", "|---|---|" + "--:|" * len(corpora)]
    for reason, outcome in OUTCOME_OF.items():
        if any((corpus, reason) in counts for corpus in corpora):
            cells = [_count_cell(counts.get((corpus, reason), 0), totals[corpus]) for corpus in corpora]
            lines.append(f"| {outcome} | {reason} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def code_cell(text: str) -> str:
    """A corpus' own words in a cell of a Markdown table, where they are no Markdown, HTML or end of the cell."""
    return "`" + text.replace("`", "'").replace("|", "\\|").replace("\n", " ").replace("\r", " ") + "`"


def _count_cell(rows: int, total: int) -> str:
    return f"{rows:,} ({rows / total:.1%})" if rows else "0"


def _draw(axis: Axes, scale: Scale, found: Sequence[Distribution], limits: Thresholds | None) -> None:
    from matplotlib.ticker import FuncFormatter, PercentFormatter

    edges = [scale.value(place / scale.bins) for place in range(scale.bins + 1)]
    for place, distribution in enumerate(found):
        if distribution.rows:
            shares = np.array(distribution.bins) / distribution.rows
            style = {"fill": True, "alpha": 0.6, "color": _BLUE} if place == 0 else {"color": _ORANGE}
            axis.stairs(shares, edges, **style)
    if scale.is_log:
        axis.set_xscale("log")
    axis.set_xlim(scale.low, scale.high)
    axis.set_ylim(bottom=0.0)
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / scale.per_unit:g}"))
    medians = " / ".join(scale.text(one.median) for one in found if one.median is not None)
    # At a place that is said: to find one above the axis' labels, all of them would be measured.
    axis.set_title(f"median {medians}", fontsize=7, y=1.0)
    axis.set_xlabel(f"{scale.label} ({scale.unit})" if scale.unit else scale.label, fontsize=8)
    axis.tick_params(labelsize=7)
    for value in _limits(scale, limits):
        axis.axvline(value, color=_RED, linestyle="--", linewidth=0.8)


def _limits(scale: Scale, limits: Thresholds | None) -> list[float]:
    if limits is None:
        return []
    found = {
        limits.limit(check.threshold, "default"): check.is_absolute
        for check in CHECKS
        if check.column == scale.column
    }
    return [*found, *(-value for value, is_absolute in found.items() if is_absolute)]
