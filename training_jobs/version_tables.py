"""Tables of a version's page: those that the programs have written as Markdown, read back, and those of figures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

_CELL_END = re.compile(r"(?<!\\)\|")
_BAD, _GOOD = ("failed",), ("held",)
NAMES = {
    "wer": "word error rate",
    "cer": "character error rate",
    "exact": "exact match",
    "contains": "answer in the text",
    "spoken_contains": "answer in the speech, as the model reads it back",
    "heard_contains": "answer in the speech, as the ASR model hears it",
    "heard_wer": "word error rate, as the ASR model hears it",
    "mos": "DNSMOS (1 to 5)",
}
_GROUPS = {"known": "known speakers", "unseen": "unseen speakers", "unstated": "speakers not stated"}
_TASKS = {"asr": "Transcription", "sqa": "Spoken questions", "tts": "Speech synthesis"}
_LESS_IS_BETTER = ("wer", "cer", "heard_wer")


@dataclass(frozen=True)
class Cell:
    """One cell; ``kind`` is a class of the style sheet."""

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """A table with its caption; ``right``: which columns hold numbers; ``notes`` follow it."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    right: frozenset[int] = frozenset()
    notes: Sequence[str] = field(default_factory=list)


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int]) -> Table:
    """A table of plain cells."""
    return Table(caption, head, [[Cell(text) for text in row] for row in rows], frozenset(right))


def from_markdown(caption: str, markdown: str) -> list[Table]:
    """The tables of a Markdown text of ours, each with the lines around it as notes; headings go to the caption."""
    found: list[Table] = []
    heading, before, lines = "", list[str](), list[str]()

    def close() -> None:
        if len(lines) >= 2:
            title = f"{caption}: {heading}" if heading else caption
            found.append(_parsed(title, lines, before))
            before.clear()
        lines.clear()

    for line in [*markdown.splitlines(), ""]:
        if line.startswith("|"):
            lines.append(line)
            continue
        close()
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.strip():
            text = _plain(line.removeprefix("- "))
            if found and not before and not _begins_section(heading, found[-1], caption):
                found[-1] = replace(found[-1], notes=[*found[-1].notes, text])
            else:
                before.append(text)
    if before and not found:
        found.append(Table(caption, [], [], notes=list(before)))
    elif before:
        found[-1] = replace(found[-1], notes=[*found[-1].notes, *before])
    return found


def _begins_section(heading: str, last: Table, caption: str) -> bool:
    return bool(heading) and last.caption != f"{caption}: {heading}"


def _parsed(caption: str, lines: Sequence[str], notes: Sequence[str]) -> Table:
    head, rule, *rows = (_cells(line) for line in lines)
    right = frozenset(index for index, mark in enumerate(rule) if mark.endswith(":"))
    return Table(caption, head, [[_cell(text) for text in row] for row in rows], right, list(notes))


def _cells(line: str) -> list[str]:
    return [_plain(cell.strip()) for cell in _CELL_END.split(line.strip())[1:-1]]


def _plain(text: str) -> str:
    return text.replace("\\|", "|").replace("**", "").replace("`", "").strip()


def _cell(text: str) -> Cell:
    return Cell(text, "bad" if text in _BAD else "good" if text in _GOOD else "")


def with_names(whole: Table) -> Table:
    """The same with the figures' names in words."""
    if "figure" not in whole.head:
        return whole
    place = whole.head.index("figure")
    rows = [
        [*row[:place], Cell(NAMES.get(row[place].text, row[place].text)), *row[place + 1 :]]
        for row in whole.rows
    ]
    return replace(whole, rows=rows)


def by_column(whole: Table, column: str, caption: str) -> list[Table]:
    """One table for each value of a column, which goes to the caption."""
    place = whole.head.index(column)
    parts: dict[str, list[Sequence[Cell]]] = {}
    for row in whole.rows:
        parts.setdefault(row[place].text, []).append([*row[:place], *row[place + 1 :]])
    head = [*whole.head[:place], *whole.head[place + 1 :]]
    right = frozenset(index - (index > place) for index in whole.right if index != place)
    return [Table(f"{caption} {value}", head, rows, right) for value, rows in parts.items()]


def overall_table(evaluation: Mapping[str, Any]) -> Table:
    """Every overall figure in every mode, with its interval, and Boost's difference from Vanilla's."""
    overall = evaluation["overall"]
    modes = sorted(overall, key=lambda mode: (mode != "vanilla", mode))
    names = sorted({name for mode in modes for name in overall[mode]}, key=_figure_order)
    differences = evaluation.get("boost_minus_vanilla", {})
    rows = []
    for name in names:
        cells = [Cell(part) for part in figure_words(name)]
        ends = {mode: evaluation.get("intervals", {}).get(mode, {}).get(name) for mode in modes}
        cells += [Cell(figure_text(name, overall[mode].get(name), ends[mode])) for mode in modes]
        cells.append(_difference(name, differences.get(name)))
        rows.append(cells)
    head = ["task", "figure", *modes, "Boost less Vanilla"]
    return Table(
        "Figures on held-out rows, with 95 % bootstrap intervals",
        head,
        rows,
        frozenset(range(2, len(head))),
        [
            "Differences are of the same rows, resampled together, in percentage points: red where all of the interval "
            "is on the worse side, green where all of it is on the better one."
        ],
    )


def _figure_order(name: str) -> tuple[int, str, int, str]:
    """Tasks as they are named here, then groups of speakers, then the figures as :data:`NAMES` has them."""
    task, _, rest = name.partition("_")
    group, _, figure = rest.partition("_")
    group, figure = (group, figure) if group in _GROUPS else ("", rest)
    orders = [list(one) for one in (_TASKS, NAMES)]
    places = [
        order.index(key) if key in order else len(order)
        for order, key in zip(orders, (task, figure), strict=True)
    ]
    return places[0], group, places[1], name


def figure_words(name: str) -> tuple[str, str]:
    """Task and figure of ``asr_known_wer`` and the like, in words."""
    task, _, rest = name.partition("_")
    group, _, figure = rest.partition("_")
    if group not in _GROUPS:
        return _TASKS.get(task, task), NAMES.get(rest, rest.replace("_", " "))
    return _TASKS.get(task, task), f"{NAMES.get(figure, figure)}, {_GROUPS[group]}"


def figure_text(name: str, value: float | None, ends: Sequence[float] | None) -> str:
    """A figure with its interval, in percent; opinion scores as they are."""
    if value is None:
        return "–"
    if name.endswith("_mos"):
        return f"{value:.2f}" + ("" if ends is None else f" [{ends[0]:.2f}, {ends[1]:.2f}]")
    return f"{value:.1%}" + ("" if ends is None else f" [{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]")


def _difference(name: str, found: Mapping[str, float] | None) -> Cell:
    if found is None:
        return Cell("–")
    factor = 1 if name.endswith("_mos") else 100
    value, low, high = (factor * found[part] for part in ("value", "low", "high"))
    sign = 1 if name.endswith(_LESS_IS_BETTER) else -1
    worse, better = min(sign * low, sign * high) > 0, max(sign * low, sign * high) < 0
    return Cell(f"{value:+.1f} [{low:+.1f}, {high:+.1f}]", "bad" if worse else "good" if better else "")


def duel_table(duel: Mapping[str, Mapping[str, Any]], champion: str) -> Table:
    """Both sides' figures, the difference with its interval, and what it may be."""
    rows = []
    for name, one in duel.items():

        def of(value: float, relative: bool = bool(one["relative"])) -> str:
            return f"{value:+.1%}" if relative else f"{100 * value:+.2f} points"

        figures = [
            f"{one[side]:,.2f}" if one["relative"] else f"{one[side]:.2%}"
            for side in ("candidate", "champion")
        ]
        low, high = one["interval"]
        more_is_worse = _more_is_worse(name)
        rows.append(
            [
                Cell("held" if one["held"] else "failed", "good" if one["held"] else "bad"),
                Cell(name),
                *map(Cell, figures),
                Cell(of(one["difference"])),
                Cell(f"{of(low)} to {of(high)}"),
                Cell(f"{'at most' if more_is_worse else 'at least'} {of(one['limit'])}"),
                Cell(one["basis"] + ("; undecided: the difference decides" if one["undecided"] else "")),
            ]
        )
    head = [
        "",
        "figure",
        "this version",
        f"champion (version {champion})",
        "difference",
        "95 % interval",
        "allowed",
        "of",
    ]
    note = (
        "A figure fails where all of its interval is beyond what is allowed. Rates are shares, times ms, speeds "
        "tokens/s."
    )
    return Table("Side by side with the champion, by the gate", head, rows, frozenset(range(2, 7)), [note])


def _more_is_worse(name: str) -> bool:
    return name.endswith(("_wer", "_cer", "_ms_p50"))


def reference_table(rules: Mapping[str, Any]) -> Table:
    """Figures by the reference's own rules."""
    modes = list(rules["overall"])
    names = list(dict.fromkeys(name for mode in modes for name in rules["overall"][mode]))
    rows = [
        [
            name.replace("_", " "),
            *(_reference_text(name, rules["overall"][mode].get(name)) for mode in modes),
        ]
        for name in names
    ]
    notes = [
        f"Transcriptions are cut at {rules['limit']}; speech is heard by {rules['listener']}; {rules['stands_in']}. "
        "Never part of the gate."
    ]
    whole = table(
        "The same answers by VITA-Audio's own rules", ["figure", *modes], rows, range(1, len(modes) + 1)
    )
    return replace(whole, notes=notes)


def _reference_text(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1%}" if name.endswith(("_wer", "contains")) else f"{value:,.0f}"
