"""Where a recording is cut: stretches of speech, and pieces of some of them, decided while it is heard.

Times are seconds from the recording's beginning.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from assets.audio.settings import Segmentation

FRAME_S = 0.032  # of the voice activity model
_SPEECH_FROM, _PAUSE_BELOW = 0.5, 0.35  # Silero's own thresholds for beginning and end
_SHORTEST_SPEECH_S = 0.1  # less is a click
# A piece keeps no longer pause than this; what lies between two pieces is left out.
_LONGEST_PAUSE_S = 2.0
_SMOOTHED = 5  # frames over which a place within speech must be quiet
_HELD_PIECES = 4  # of the longest kind: about this much speech without a long pause is looked at as a whole
_CUT_COST, _SHORT_COST, _WIDER_COST = 1.0, 100.0, 0.5


@dataclass(frozen=True, slots=True)
class Speech:
    """A stretch of speech; ``begins_within`` and ``ends_within`` say that it was cut off from more speech there."""

    start_s: float
    end_s: float
    begins_within: bool = False
    ends_within: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the recording that becomes an utterance; ``in_speech``: one of its ends is not in a pause."""

    start_s: float
    end_s: float
    in_speech: bool


class SpeechFinder:
    """Stretches of speech, from the model's frames.

    A stretch ends where a pause of ``pause_s`` begins; one that is too long for a piece ends at its quietest place.
    """

    def __init__(self, settings: Segmentation) -> None:
        self._pause = max(round(settings.pause_s / FRAME_S), 1)
        self._longest = int((settings.max_s - 2 * settings.margin_s) / FRAME_S) - 1
        self._shortest = math.ceil(settings.min_s / FRAME_S)
        self._least = round(_SHORTEST_SPEECH_S / FRAME_S)
        self._frame = 0
        self._start: int | None = None
        self._begins_within = False
        self._pause_from: int | None = None
        self._powers: list[float] = []  # of the frames since the start
        self.speech_s = 0.0

    @property
    def heard_s(self) -> float:
        """Up to where the recording has been heard."""
        return self._frame * FRAME_S

    @property
    def open_since_s(self) -> float | None:
        """Where the stretch began that has not ended yet."""
        return None if self._start is None else self._start * FRAME_S

    def feed(self, probabilities: Iterable[float], powers: Iterable[float]) -> list[Speech]:
        """The stretches that have ended within these frames."""
        found: list[Speech] = []
        for probability, power in zip(probabilities, powers, strict=True):
            if self._start is None:
                if probability >= _SPEECH_FROM:
                    self._start, self._powers = self._frame, []
            elif probability >= _SPEECH_FROM:
                self._pause_from = None
            elif probability < _PAUSE_BELOW and self._pause_from is None:
                self._pause_from = self._frame
            self._frame += 1
            if self._start is None:
                continue
            self._powers.append(power)
            if self._pause_from is not None and self._frame - self._pause_from >= self._pause:
                found += self._close(self._pause_from)
            elif self._frame - self._start >= self._longest + self._shortest:
                found.append(self._split(self._longest))
        return found

    def finish(self, is_whole: bool = True) -> list[Speech]:
        """The last stretch; not ``is_whole``: the recording cannot be heard to its end."""
        if self._start is None:
            return []
        end = self._frame if self._pause_from is None else self._pause_from
        return self._close(end, ends_within=not is_whole and self._pause_from is None)

    def _close(self, end: int, ends_within: bool = False) -> list[Speech]:
        found = []
        assert self._start is not None
        while end - self._start > self._longest:
            found.append(self._split(min(self._longest, end - self._start - self._shortest)))
        if end - self._start >= self._least or self._begins_within:
            found.append(self._speech(end, ends_within))
        self._start = self._pause_from = None
        self._begins_within = False
        self._powers = []
        return found

    def _split(self, most: int) -> Speech:
        """Cut the open stretch at its quietest place, at most so many frames from its start."""
        assert self._start is not None
        first = self._longest // 2
        half = _SMOOTHED // 2
        sums = [
            sum(self._powers[place - half : place + half + 1]) for place in range(first, max(most, first + 1))
        ]
        place = first + sums.index(min(sums))
        cut = self._speech(self._start + place, ends_within=True)
        self._start, self._begins_within = self._start + place, True
        self._powers = self._powers[place:]
        return cut

    def _speech(self, end: int, ends_within: bool) -> Speech:
        assert self._start is not None
        self.speech_s += (end - self._start) * FRAME_S
        return Speech(self._start * FRAME_S, end * FRAME_S, self._begins_within, ends_within)


class Cutter:
    """Puts stretches of speech together into pieces.

    A piece is from ``min_s`` to ``max_s`` long and holds no pause of more than two seconds. Of the ways to do that, the
    one is taken that cuts at the longest pauses and keeps the least silence. Speech shorter than ``min_s`` that stands
    alone gets more of the pause around it; where there is none, the recording itself is shorter, and so is its piece.
    """

    def __init__(self, settings: Segmentation) -> None:
        self._settings = settings
        self._open: list[Speech] = []
        self._last_end_s: float | None = None

    @property
    def open_since_s(self) -> float | None:
        """Where the first stretch begins that is in no piece yet."""
        return self._open[0].start_s if self._open else None

    def add(self, speech: Speech) -> list[Piece]:
        """The pieces that are certain now."""
        done: list[Piece] = []
        if self._open and speech.start_s - self._open[-1].end_s > _LONGEST_PAUSE_S:
            done = self._commit(len(self._open), speech.start_s)
        self._open.append(speech)
        if speech.end_s - self._open[0].start_s > _HELD_PIECES * self._settings.max_s:
            middle_s = (speech.end_s + self._open[0].start_s) / 2
            kept = [one for one in self._best(math.inf) if self._open[one[1] - 1].end_s <= middle_s]
            done += self._commit(kept[-1][1], self._open[kept[-1][1]].start_s)
        return done

    def wait(self, heard_s: float) -> list[Piece]:
        """The pieces that are certain, now that nothing has been said up to there."""
        enough_s = 2 * max(self._settings.min_s, _LONGEST_PAUSE_S)
        if self._open and heard_s - self._open[-1].end_s >= enough_s:
            return self._commit(len(self._open), heard_s)
        return []

    def finish(self, end_s: float) -> list[Piece]:
        """The last pieces of a recording that ends there."""
        return self._commit(len(self._open), 2 * end_s - self._open[-1].end_s) if self._open else []

    def _commit(self, count: int, next_s: float) -> list[Piece]:
        """Pieces of the first stretches; ``next_s`` is where the speech behind them begins."""
        rest, self._open = self._open[count:], self._open[:count]
        done = [self._piece(*bounds, next_s) for bounds in self._best(next_s)]
        self._last_end_s = self._open[-1].end_s
        self._open = rest
        return done

    def _best(self, next_s: float) -> list[tuple[int, int]]:
        """First and end of the pieces that cost least."""
        count = len(self._open)
        costs = [0.0, *[math.inf] * count]
        begins = [0] * (count + 1)
        for end in range(1, count + 1):
            for first in range(end - 1, -1, -1):
                cost = self._cost(first, end, next_s)
                if math.isinf(cost):
                    break
                if costs[first] + cost < costs[end]:
                    costs[end], begins[end] = costs[first] + cost, first
        bounds = []
        end = count
        while end:
            bounds.append((begins[end], end))
            end = begins[end]
        return bounds[::-1]

    def _cost(self, first: int, end: int, next_s: float) -> float:
        speech, settings = self._open[first:end], self._settings
        pauses = [after.start_s - before.end_s for before, after in pairwise(speech)]
        before_s, after_s = self._rooms(first, end, next_s)
        span_s = speech[-1].end_s - speech[0].start_s
        length_s = span_s + min(before_s, settings.margin_s) + min(after_s, settings.margin_s)
        if len(speech) > 1 and (length_s > settings.max_s or max(pauses) > _LONGEST_PAUSE_S):
            return math.inf
        cost = sum(pauses)
        if first:
            pause_s = speech[0].start_s - self._open[first - 1].end_s
            cost += _CUT_COST / max(pause_s, FRAME_S)
        if length_s < settings.min_s:
            short_s = settings.min_s - span_s - before_s - after_s
            cost += _SHORT_COST * (1 + short_s) if short_s > 0 else _WIDER_COST * (settings.min_s - length_s)
        return cost

    def _rooms(self, first: int, end: int, next_s: float) -> tuple[float, float]:
        """How far a piece may reach into the pause before and behind its speech."""
        start_s, end_s = self._open[first].start_s, self._open[end - 1].end_s
        last_end_s = self._open[first - 1].end_s if first else self._last_end_s
        before_s = start_s if last_end_s is None else (start_s - last_end_s) / 2
        after_s = ((self._open[end].start_s if end < len(self._open) else next_s) - end_s) / 2
        return min(before_s, self._settings.min_s), min(after_s, self._settings.min_s)

    def _piece(self, first: int, end: int, next_s: float) -> Piece:
        settings = self._settings
        start_s, end_s = self._open[first].start_s, self._open[end - 1].end_s
        before_s, after_s = self._rooms(first, end, next_s)
        margins = [min(before_s, settings.margin_s), min(after_s, settings.margin_s)]
        missing_s = settings.min_s - (end_s - start_s + sum(margins))
        if missing_s > 0:
            # Half of it on each side; what one side does not have, the other gives.
            for side, share in ((0, 0.5), (1, 1.0), (0, 1.0)):
                more_s = min(share * missing_s, (before_s, after_s)[side] - margins[side])
                margins[side] += more_s
                missing_s -= more_s
        in_speech = self._open[first].begins_within or self._open[end - 1].ends_within
        return Piece(start_s - margins[0], end_s + margins[1], in_speech)
