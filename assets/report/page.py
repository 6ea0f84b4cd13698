"""One corpus' page and the page of all corpora, as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from assets.report.charts import Histogram, Range, histogram, limits_of, quantile_range, wave_path
from assets.report.drift_view import DriftView
from assets.report.excerpts import LONGEST_S, Excerpt, NoExcerpt
from assets.report.facts import NAMELESS, Count, Facts
from assets.report.profiles import ACCEPTED_PART, Comparison
from assets.report.recordings import Heard
from assets.report.render import render
from assets.report.texts import Texts
from validation.checks import CHECKS
from validation.histograms import QUANTILES, Cells, Distribution
from validation.reasons import OUTCOME_OF
from validation.scales import SCALE_OF, SCALES, Scale
from validation.thresholds import Thresholds

OTHER_PART = "other"
_COMPARED = ("duration_s", "level_dbfs")
_REST, _UNNAMED = "\0rest", "\0unnamed"  # no voice has a NUL in its name
_WAVE = (320.0, 60.0)
_ACCEPTED_REASONS = frozenset(str(reason) for reason, outcome in OUTCOME_OF.items() if outcome == "accepted")


@dataclass(frozen=True, slots=True)
class Card:
    """One recording with a player, as the page shows it."""

    rank: int
    name: str
    sound: Excerpt | NoExcerpt
    wave: str
    heard: str
    verdict: str
    text: str
    detail: str
    place: str
    measures: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class QuantileLine:
    """One line of the table of quantiles."""

    measure: str
    rows: str
    quantiles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CorpusPage:
    """All that a corpus' page shows."""

    name: str
    reader: str
    language: str
    licence: str
    facts: Facts
    voices: tuple[Count, ...]
    voice_names: dict[str, str]
    texts: Texts
    before_after: tuple[Histogram, ...]
    quantile_names: tuple[str, ...]
    quantiles: tuple[QuantileLine, ...]
    main_panels: tuple[Histogram, ...]
    more_panels: tuple[Histogram, ...]
    not_measured: tuple[str, ...]
    drift: DriftView
    worst: tuple[Card, ...]
    best: tuple[Card, ...]

    def html(self) -> bytes:
        """The page."""
        return render("corpus.html", corpus=self)


@dataclass(frozen=True, slots=True)
class IndexLine:
    """One corpus on the page of all of them."""

    name: str
    read: int
    accepted: int
    hours: float
    accepted_hours: float
    languages: str
    voices: int
    lost: str
    drift: str
    is_bad: bool
    ranges: tuple[Range | None, ...]


def corpus_page(
    about: dict[str, str],
    facts: Facts,
    texts: Texts,
    cells: Cells,
    limits: Thresholds,
    drift: DriftView,
    worst: Sequence[Heard],
    best: Sequence[Heard],
) -> CorpusPage:
    """The page of a corpus.

    Args:
        about: ``name``, ``reader``, ``language``, ``licence``.
    """
    languages = [one.name for one in facts.languages if one.decoded]
    main: list[Histogram] = []
    more: list[Histogram] = []
    missing: list[str] = []
    for scale in SCALES:
        accepted, other = (cells.distribution(scale, [part]) for part in (ACCEPTED_PART, OTHER_PART))
        if not accepted.rows and not other.rows:
            missing.append(scale.label)
            continue
        drawn = histogram(
            scale,
            ("accepted", accepted),
            ("not accepted", other),
            limits_of(scale, limits, languages),
        )
        (main if scale.is_main else more).append(drawn)
    compared = [SCALE_OF[column] for column in _COMPARED]
    both = [
        (scale, cells.distribution(scale), cells.distribution(scale, [ACCEPTED_PART])) for scale in compared
    ]
    both = [found for found in both if found[1].rows]
    voices, names = _voices(facts)
    return CorpusPage(
        **about,
        facts=facts,
        voices=voices,
        voice_names=names,
        texts=texts,
        before_after=tuple(_before_after(*found) for found in both),
        quantile_names=tuple(f"{100 * share:g} %" for share in QUANTILES),
        quantiles=tuple(line for found in both for line in _quantile_lines(*found)),
        main_panels=tuple(main),
        more_panels=tuple(more),
        not_measured=tuple(missing),
        drift=drift,
        worst=tuple(_card(one, limits) for one in worst),
        best=tuple(_card(one, limits) for one in best),
    )


def index_page(lines: Sequence[IndexLine]) -> bytes:
    """The page of all corpora."""
    total = Count(
        "all",
        sum(line.read for line in lines),
        sum(line.accepted for line in lines),
        0,
        sum(line.hours for line in lines),
        sum(line.accepted_hours for line in lines),
    )
    scales = [_axis(scale) for scale in SCALES if scale.is_main]
    return render("index.html", corpora=lines, total=total, scales=scales)


def index_line(corpus: str, comparison: Comparison, drift: str) -> IndexLine:
    """The line of a corpus whose last state is known.

    Args:
        drift: What is said of it, short.
    """
    profile = comparison.now.profile
    lost = [(one.rows, reason) for reason, one in profile.reasons.items() if reason not in _ACCEPTED_REASONS]
    ranges = [
        quantile_range(scale, profile.measures[scale.column].quantiles)
        if scale.column in profile.measures
        else None
        for scale in SCALES
        if scale.is_main
    ]
    return IndexLine(
        name=corpus,
        read=profile.read.rows,
        accepted=profile.accepted.rows,
        hours=profile.read.hours,
        accepted_hours=profile.accepted.hours,
        languages=", ".join(sorted(profile.languages, key=lambda name: -profile.languages[name].hours)),
        voices=profile.voices,
        lost=f"{max(lost)[1]} ({max(lost)[0]:,})" if lost else "",
        drift=drift,
        is_bad=not comparison.passed,
        ranges=tuple(ranges),
    )


def _voices(facts: Facts) -> tuple[tuple[Count, ...], dict[str, str]]:
    named = len(facts.speakers)
    lines, names = [*facts.speakers], {}
    if facts.other_speakers is not None:
        lines.append(replace(facts.other_speakers, name=_REST))
        names[_REST] = f"the other {facts.voices[0] - named:,} named voices"
    if facts.unnamed is not None:
        lines.append(replace(facts.unnamed, name=_UNNAMED))
        names[_UNNAMED] = "voices that the corpus does not name"
    return tuple(lines), names


def _before_after(scale: Scale, decoded: Distribution, accepted: Distribution) -> Histogram:
    return histogram(
        scale, ("after: accepted", accepted), ("before: all decoded", decoded), of_rows=decoded.rows
    )


def _quantile_lines(scale: Scale, decoded: Distribution, accepted: Distribution) -> list[QuantileLine]:
    title = f"{scale.label} ({scale.unit})"
    return [
        QuantileLine(title, f"{words}, {found.rows:,}", tuple(scale.text(value) for value in found.quantiles))
        for words, found in (("before", decoded), ("after", accepted))
        if found.rows
    ]


def _card(one: Heard, limits: Thresholds) -> Card:
    row, sound = one.row, one.sound
    voice = "not named" if row["speaker"] in NAMELESS else row["speaker"]
    return Card(
        rank=one.rank,
        name=str(row["utterance_id"]),
        sound=sound,
        wave=wave_path(sound.wave, *_WAVE) if isinstance(sound, Excerpt) else "",
        heard=_heard(sound) if isinstance(sound, Excerpt) else "",
        verdict=_verdict(one, limits),
        text=row["text"].strip(),
        detail="" if row["reason"] == "accepted" else str(row["detail"]),
        place=f"voice {voice}, {row['language']}, {row['split']}; {row['source']}",
        measures=tuple(
            (scale.label, f"{scale.text(value)} {scale.unit}".rstrip())
            for scale in SCALES
            if (value := one.measures[scale.column]) is not None
            and (scale.is_main or scale.column in ("loudness_lufs", "silence_share", "word_error_rate"))
        ),
    )


def _heard(sound: Excerpt) -> str:
    length = f"{sound.seconds:.1f} s"
    if sound.whole_s is not None and sound.whole_s > sound.seconds + 0.05:
        length = f"the first {length} of {sound.whole_s:.1f} s"
    elif sound.whole_s is None and sound.seconds >= LONGEST_S:
        length = f"the first {length}"
    return f"{length}, from {sound.origin}"


def _verdict(one: Heard, limits: Thresholds) -> str:
    row, ranked = one.row, one.ranked
    margin = "no numbers to compare" if ranked.margin is None else f"margin {ranked.margin:+.3f}"
    if row["outcome"] == "accepted":
        check = next(check for check in CHECKS if check.threshold == ranked.nearest)
        scale, value = SCALE_OF[check.column], one.measures[check.column]
        assert value is not None, "no margin without a value"
        limit = limits.limit(check.threshold, row["language"])
        words = f"{scale.label} {scale.text(value)} {scale.unit}".rstrip()
        return f"Nearest limit: {words}, {check.threshold} {limit:g}; {margin}"
    numbers = "" if row["value"] is None else f" {row['value']:.6g}"
    numbers += "" if row["limit"] is None else f", limit {row['limit']:.6g}"
    return f"{row['outcome']}: {row['reason']}{numbers}; {margin}"


def _axis(scale: Scale) -> tuple[str, str]:
    ends = (f"{end / scale.per_unit:g}" for end in (scale.low, scale.high))
    return scale.label, f"{' to '.join(ends)} {scale.unit}".rstrip()
