"""An inspection for people: the entry to paste, rows as they would be read, and what is faulty or not certain."""

from __future__ import annotations

import re
from collections.abc import Iterator
from posixpath import basename

import yaml

from assets.audio.column_names import is_columnar, split_value
from assets.audio.columns import ColumnFile
from assets.audio.decode import open_source
from assets.audio.members import split_member, tar_members
from assets.audio.problem import AudioFaultError, AudioProblem
from assets.audio.segments import Segment
from assets.audio.source_file import SourceFile
from assets.corpora.config import FILL_IN
from assets.corpora.guesses import Part
from assets.corpora.inspection import Inspection, Trial
from assets.corpora.root import CorpusRoot
from assets.corpora.utterance import Utterance

_LARGEST_OPENED_BYTES = 16 << 20  # of the audio of a row that is shown
_TEXT_WIDTH = 60
_DETAIL_WIDTH = 300


def report(inspection: Inspection) -> str:
    """The whole report, without colours, for a terminal of any width."""
    return "\n".join(_shown(line) for line in _lines(inspection)) + "\n"


def entries(inspection: Inspection) -> str:
    """What is to be pasted into a corpora file; empty where no reader reads anything."""
    best = inspection.best
    if best is None:
        return ""
    return "".join(_entry(inspection.root, best, part) for part in best.guess.parts)


def _lines(inspection: Inspection) -> Iterator[str]:
    best = inspection.best
    yield f"# {inspection.root.path}: {inspection.files} files, {inspection.audio_files} of them audio"
    if best is None:
        yield "# NOT KNOWN: no reader reads anything of it; docs/bring-your-own-data.md has the layouts"
    elif inspection.doubts:
        yield f"# NOT SURE: reader {best.guess.reader}, if what follows is right"
    else:
        yield f"# reader {best.guess.reader}"
    yield from (f"#   - {doubt:.{_DETAIL_WIDTH}}" for doubt in inspection.doubts)
    if best is not None:
        yield ""
        yield entries(inspection).rstrip("\n")
        yield ""
        yield from _rows(inspection.root, best)
        yield from _faults(best)
        others = [trial for trial in inspection.trials[1:] if trial.guess.kind or not best.guess.kind]
        yield from (f"# other reader: {_told(trial)}" for trial in others)
    for fault in inspection.root.faults:
        yield f"# not read: {fault.detail:.{_DETAIL_WIDTH}}"


def _shown(line: str) -> str:
    # Names and texts are the corpus' own: one with a line end in it would end the comment that it stands in.
    is_comment = line.startswith("#")
    return "".join(one if one.isprintable() else "\ufffd" for one in line) if is_comment else line


def _entry(root: CorpusRoot, trial: Trial, part: Part) -> str:
    words = [basename(root.path), *([part.language] if part.language and len(trial.guess.parts) > 1 else [])]
    name = re.sub(r"[^a-z0-9]+", "_", "_".join(words).lower()).strip("_") or "corpus"
    lines = [f"- name: {name}", f"  reader: {trial.guess.reader}", f"  root: {_scalar(_root(root))}"]
    if part.options:
        options = yaml.safe_dump(
            part.options, allow_unicode=True, default_flow_style=False, sort_keys=False, width=1000
        )
        lines += ["  options:", *(f"    {line}" for line in options.splitlines())]
    lines.append(f"  licence: {FILL_IN}  # the corpus' licence, such as CC-BY-4.0")
    if part.language is not None:
        lines.append(f"  language: {part.language}")
    else:
        lines.append(f"  language: {FILL_IN}  # such as en or zh; of rows that do not state their own")
    return "\n".join(lines) + "\n"


def _root(root: CorpusRoot) -> str:
    return root.uri("").rstrip("/")


def _scalar(text: str) -> str:
    dumped: str = yaml.safe_dump([text], allow_unicode=True, default_flow_style=True, width=100_000)
    return dumped.strip()[1:-1]


def _rows(root: CorpusRoot, trial: Trial) -> Iterator[str]:
    yield f"# {trial.good} of {'' if trial.is_whole else 'the first '}{trial.read} rows can be read, such as"
    for row in trial.shown:
        part = ""
        if row.segment_start_s is not None:
            end = "" if row.segment_end_s is None else f"{row.segment_end_s:.2f}"
            part = f" [{row.segment_start_s:.2f}-{end} s]"
        heard = "" if row.audio is None else f" | {row.audio}{part} ({sound_of(root, row)})"
        text = " ".join(row.text.split())
        said = text if len(text) <= _TEXT_WIDTH else text[: _TEXT_WIDTH - 1] + "…"
        yield f"#   {row.utterance_id} | {row.speaker} | {row.language or '-'} | {said or '(no text)'}{heard}"


def _faults(trial: Trial) -> Iterator[str]:
    for reason, count in trial.faults.most_common():
        yield f"# faulty: {count} x {reason}, such as {trial.examples[reason]:.{_DETAIL_WIDTH}}"
    if trial.error is not None:
        yield f"# faulty: {trial.error:.{_DETAIL_WIDTH}}"


def _told(trial: Trial) -> str:
    options = trial.guess.parts[0].options
    return f"{trial.guess.reader} reads {trial.good} of {trial.read} rows, options {options}"


def sound_of(root: CorpusRoot, row: Utterance) -> str:
    """Rate and duration of a row's recording, or what is wrong with it."""
    assert row.audio is not None
    try:
        data = _bytes_of(root, row.audio)
        if data is None:
            return "not opened: too large"
        with open_source(SourceFile.of_bytes(data), row.audio) as source:
            for _, found in source.cut((Segment(),)):
                if isinstance(found, AudioProblem):
                    return f"{found.reason}: {found.detail}"
                return f"{found.rate_hz} Hz, {found.samples_N.size / found.rate_hz:.2f} s"
    except AudioFaultError as error:
        return f"{error.problem.reason}: {error.problem.detail:.{_TEXT_WIDTH}}"
    except OSError as error:
        return f"unreadable: {error}"
    return "no_frames"


def _bytes_of(root: CorpusRoot, audio: str) -> bytes | None:
    """The recording; ``None`` where it is too large to be opened just for a look."""
    whole = root.resolve(audio)
    file, member = (audio, None) if whole is not None else split_member(audio)
    name = whole or root.resolve(file)
    assert name is not None, audio  # only rows whose audio was located are shown
    with root.open(name) as stream:
        if member is None:
            return stream.read() if root.files[name].size <= _LARGEST_OPENED_BYTES else None
        if is_columnar(name):
            value = split_value(member)
            return None if value is None else ColumnFile(stream).value(*value)
        for found in tar_members(stream):
            if found.name == member:
                if found.problem is not None:
                    raise AudioFaultError(found.problem)
                stream.seek(found.offset)
                return stream.read(found.size) if found.size <= _LARGEST_OPENED_BYTES else None
    return None
