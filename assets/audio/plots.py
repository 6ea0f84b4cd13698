"""What people look at: histograms of the measures and a table of the ledger's reasons, as Markdown."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import polars as pl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from validation.lake import Lake
from validation.ledger import OUTCOME_OF, read_ledger

_BINS = 40
_COLUMNS = 4
_PANEL_INCHES = (2.9, 2.1)
_BLUE = "#3b6ea5"

# Column of audio_quality, and what the axis says.
_PANELS: tuple[tuple[str, str], ...] = (
    ("duration_s", "duration (s)"),
    ("source_rate_hz", "sample rate (Hz)"),
    ("bandwidth_hz", "bandwidth (Hz)"),
    ("bandwidth_share", "bandwidth, of the rate's"),
    ("level_dbfs", "level (dBFS)"),
    ("peak_dbfs", "peak (dBFS)"),
    ("loudness_lufs", "loudness (LUFS)"),
    ("dynamic_range_db", "dynamic range (dB)"),
    ("snr_db", "SNR estimate (dB)"),
    ("rumble_db", "rumble (dB)"),
    ("hum_db", "hum (dB)"),
    ("clipped_share", "clipped share"),
    ("longest_clip_s", "longest clip (s)"),
    ("longest_dropout_s", "longest drop-out (s)"),
    ("dc_offset", "DC offset"),
    ("silence_share", "silence share"),
    ("leading_silence_s", "silence at the start (s)"),
    ("trailing_silence_s", "silence at the end (s)"),
    ("channel_correlation", "channel correlation"),
    ("dead_channels", "dead channels"),
    ("nonfinite_samples", "non-finite samples"),
    ("chars_per_second", "characters / s"),
    ("rate_deviation", "characters / s, z-score"),
    ("speech_share", "speech share"),
    ("mos", "DNSMOS"),
    ("word_error_rate", "word error rate"),
    ("char_error_rate", "character error rate"),
)


def quality_histograms(quality: pl.DataFrame, title: str) -> str:
    """A histogram of each measure that was taken as one PNG, embedded in Markdown.

    Args:
        quality: Rows of the table ``audio_quality``.
    """
    if quality.is_empty():
        return f"{title}: no audio"
    panels = [panel for panel in _PANELS if quality[panel[0]].null_count() < quality.height]
    rows = -(-len(panels) // _COLUMNS)
    figure = Figure(figsize=(_PANEL_INCHES[0] * _COLUMNS, _PANEL_INCHES[1] * rows), layout="constrained")
    figure.suptitle(f"{title}: {quality.height} recordings", fontsize=10)
    axes = figure.subplots(rows, _COLUMNS).ravel()
    for axis, (column, label) in zip(axes, panels, strict=False):
        axis.hist(quality[column].drop_nulls().to_numpy(), bins=_BINS, color=_BLUE)
        axis.set_xlabel(label, fontsize=8)
        axis.tick_params(labelsize=7)
        # A handful of damaged files beside thousands of good ones must still be seen.
        axis.set_yscale("symlog", linthresh=10)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    return figure_markdown(figure, f"measures of {title}")


def figure_markdown(figure: Figure, alternative: str) -> str:
    """The figure as a PNG inside a Markdown image."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)  # a canvas without a screen, whatever the environment says
    figure.savefig(buffer, format="png")
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"![{alternative}](data:image/png;base64,{data})"


def reasons_table(lake: Lake, corpora: Sequence[str]) -> str:
    """Markdown: for each reason its outcome, its number of rows per corpus, and one row's words as an example."""
    ledgers = {corpus: read_ledger(lake, corpus) for corpus in corpora}
    counts = {corpus: dict(ledger.group_by("reason").len().iter_rows()) for corpus, ledger in ledgers.items()}
    examples: dict[str, str] = {}
    for ledger in ledgers.values():
        for reason, detail in (
            ledger.group_by("reason", maintain_order=True).agg(pl.col("detail").first()).iter_rows()
        ):
            examples.setdefault(reason, detail)
    lines = [
        "| outcome | reason | " + " | ".join(corpora) + " | example |",
        "|---|---|" + "--:|" * len(corpora) + "---|",
    ]
    for reason, outcome in OUTCOME_OF.items():
        if reason in examples:
            numbers = " | ".join(str(counts[corpus].get(reason, 0)) for corpus in corpora)
            lines.append(f"| {outcome} | {reason} | {numbers} | {_cell(examples[reason])} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    # A bar would end the cell, and a transcript's own Markdown or HTML must not be rendered.
    return "`" + text.replace("`", "'").replace("|", "\\|").replace("\n", " ") + "`"
