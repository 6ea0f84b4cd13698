"""Which reader reads a folder: each guess is tried on its first rows, and the best one is told with all doubts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from assets.audio.column_names import is_columnar
from assets.audio.members import split_member
from assets.corpora.guessed_texts import Listing
from assets.corpora.guesses import Guess, Part, guesses
from assets.corpora.readers import READERS
from assets.corpora.root import CorpusRoot, OutsideRootError
from assets.corpora.utterance import SourceProblem, Utterance
from validation.errors import UserError
from validation.reasons import Reason
from validation.tasks import WITHOUT_TEXT

FIRST_ROWS = 500  # of each guess
SHOWN_ROWS = 10
_SURE_SHARE = 0.5  # of the rows, and of the audio, that a guess must explain
_CLOSE = 0.2  # guesses whose shares differ by less cannot be told apart


@dataclass
class Trial:
    """What a guess reads of the first rows.

    Attributes:
        read: Rows that the reader gave.
        good: Those that name audio that is there (or have none) and have a text where one is wanted.
        is_whole: Whether that were all rows.
        faults: Number of rows, and the first one's words, of each reason.
        shown: The first good rows.
        named: Audio files that rows name, whatever is wrong with the row.
        error: Why the reader does not read it at all.
    """

    guess: Guess
    read: int = 0
    good: int = 0
    is_whole: bool = True
    faults: Counter[Reason] = field(default_factory=Counter)
    examples: dict[Reason, str] = field(default_factory=dict)
    shown: list[Utterance] = field(default_factory=list)
    named: set[str] = field(default_factory=set)
    error: str | None = None
    explained: float = 0.0

    @property
    def share(self) -> float:
        """Good rows of those read, times the audio that they explain."""
        return self.good / self.read * self.explained if self.read else 0.0


@dataclass(frozen=True)
class Inspection:
    """What was found below a root.

    Attributes:
        trials: The guesses that read something, the best one first.
        doubts: Why it is not certain that the first one is right; empty where it is.
        files: All files below the root.
        audio_files: Those with an extension of audio.
    """

    root: CorpusRoot
    trials: list[Trial]
    doubts: list[str]
    files: int
    audio_files: int

    @property
    def best(self) -> Trial | None:
        """The guess whose entry is proposed."""
        return self.trials[0] if self.trials else None


def inspect_root(url: str) -> Inspection:
    """Guess the layout of a folder or URL; nothing is decoded, and of each guess only the first rows are read.

    Raises:
        UserError: if there is no such folder.
    """
    root = CorpusRoot(url)
    if not root.exists:
        raise UserError(f"{url}: is not a folder that is there")
    audio = sum(1 for _ in root.audio_files())
    trials = [_tried(root, guess, audio) for guess in guesses(Listing(root))]
    useful = [trial for trial in trials if trial.good]
    useful.sort(key=_rank, reverse=True)
    return Inspection(root, useful, list(_doubts(root, useful, trials, audio)), len(root.files), audio)


def _rank(trial: Trial) -> tuple[bool, int, float]:
    # The files of a layout speak for it even where most rows are faulty, if they speak of most of the audio.
    is_it = trial.explained >= _SURE_SHARE and (trial.guess.kind == 2 or trial.share >= _SURE_SHARE)
    return is_it, trial.guess.kind, trial.share


def _tried(root: CorpusRoot, guess: Guess, audio_files: int) -> Trial:
    trial = Trial(guess)
    for part in guess.parts:
        try:
            _try_part(root, guess, part, trial)
        except UserError as error:
            trial.error = str(error)
    in_other_files = any(split_member(row.audio or "")[1] is not None for row in trial.shown)
    if trial.is_whole and audio_files and not in_other_files:
        trial.explained = len(trial.named) / audio_files
    else:
        trial.explained = 1.0
    return trial


def _try_part(root: CorpusRoot, guess: Guess, part: Part, trial: Trial) -> None:
    reader = READERS[guess.reader]
    # Where only the first rows are read, audio that none of them names says nothing; each part reads one list only.
    options = reader.options.model_validate(part.options)
    rows = reader.read(root, options)
    seen: set[str] = set()
    for row in islice(rows, FIRST_ROWS):
        trial.read += 1
        problem = row if isinstance(row, SourceProblem) else _problem(root, row, seen, trial)
        if problem is not None:
            trial.faults[problem.reason] += 1
            trial.examples.setdefault(problem.reason, problem.detail)
        else:
            assert isinstance(row, Utterance)
            trial.good += 1
            if len(trial.shown) < SHOWN_ROWS:
                trial.shown.append(row)
    if next(rows, None) is not None:
        trial.is_whole = False


def _problem(root: CorpusRoot, row: Utterance, seen: set[str], trial: Trial) -> SourceProblem | None:
    """What the first step of the pipeline would find without opening any audio."""

    def of(reason: Reason, detail: str) -> SourceProblem:
        return SourceProblem(row.utterance_id, row.source, reason, f"{row.source}: {detail}")

    if row.audio is not None:
        file, member = split_member(row.audio)
        try:
            name = root.resolve(file if member is not None else row.audio)
        except OutsideRootError as error:
            return of("outside_root", str(error))
        if name is None:
            return of("missing_audio", f"audio {row.audio!r:.200} is not among the files")
        if not is_columnar(name):
            trial.named.add(name)
    if row.utterance_id in seen:
        return of("duplicate_id", f"id {row.utterance_id!r} stands elsewhere already")
    seen.add(row.utterance_id)
    if not row.text.strip() and row.messages is None and row.tasks not in WITHOUT_TEXT:
        return of("empty_text", "the text is empty")
    return None


def _doubts(root: CorpusRoot, useful: list[Trial], trials: list[Trial], audio_files: int) -> Iterator[str]:
    if not useful:
        yield "no reader reads anything of it"
        for trial in trials:
            if trial.error is not None:
                yield f"{trial.guess.reader}: {trial.error}"
        return
    best, *others = useful
    if best.good < _SURE_SHARE * best.read:
        yield f"{best.read - best.good} of the first {best.read} rows are faulty"
    if best.explained < 1.0:
        left = audio_files - len(best.named)
        if left > 0:
            yield f"{left} of the {audio_files} audio files are in no row that {best.guess.reader} reads"
    rivals = [one for one in others if one.guess.kind == best.guess.kind and one.share > best.share - _CLOSE]
    for rival in rivals:
        yield f"{_said(rival)} would read {rival.good} of {rival.read} rows as well"
    if best.guess.kind == 0:
        yield "nothing was found that says what is spoken"
        others_found = sum(
            name.lower().endswith((".txt", ".csv", ".tsv", ".json", ".jsonl")) for name in root.files
        )
        if others_found:
            yield f"{others_found} text files are not read"
    yield from best.guess.doubts


def _said(trial: Trial) -> str:
    options: dict[str, Any] = trial.guess.parts[0].options
    told = ", ".join(f"{name}: {value}" for name, value in options.items())
    return f"{trial.guess.reader} ({told})" if told else trial.guess.reader
