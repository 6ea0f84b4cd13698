"""What the first lines of tables and JSON lines, and the columns of Parquet files, say about their reader."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from posixpath import basename, dirname, join, splitext
from typing import Any

from assets.audio.column_names import is_columnar
from assets.audio.columns import ColumnFile
from assets.audio.problem import AudioFaultError
from assets.corpora.huggingface import audio_columns, is_cache
from assets.corpora.readers import ReaderName
from assets.corpora.recordings import audio_at
from assets.corpora.root import CorpusRoot

_PEEK_BYTES = 1 << 16
_MOST_FILES = 50  # of a kind that are looked into
_TABLES = (".csv", ".tsv", ".txt", ".lst", ".psv")
_DELIMITERS = ("\t", ",", "|", ";", ":")
_TEXT = ("text", "sentence", "transcription", "transcript", "normalized_text", "txt", "utterance", "question")
_SPEAKER = ("speaker_id", "speaker", "spk", "client_id", "spk_id")
_LANGUAGE = ("language", "lang", "locale")
_ID = ("id", "utterance_id", "key", "uid", "index")
_MOST_TEXT_SHARE = 0.5


@dataclass(frozen=True)
class Listing:
    """The files below a root, and what is asked of them again and again."""

    root: CorpusRoot

    @cached_property
    def names(self) -> list[str]:
        """All files."""
        return list(self.root.files)

    @cached_property
    def folders(self) -> frozenset[str]:
        """All folders that have files."""
        found: set[str] = set()
        for name in self.names:
            folder = dirname(name)
            while folder and folder not in found:
                found.add(folder)
                folder = dirname(folder)
        return frozenset(found)

    @cached_property
    def by_name(self) -> dict[str, str]:
        """A recording by its file's name without the extension."""
        return {splitext(basename(name))[0]: name for name in self.root.audio_files()}


Found = tuple[ReaderName, dict[str, Any], int, tuple[str, ...]]


def peeked(root: CorpusRoot, name: str) -> list[str]:
    """The first lines of a file, without the last one where it may be cut; empty where they are no text."""
    try:
        if root.text_fault(name) is not None:
            return []
        with root.open(name) as stream:
            data = stream.read(_PEEK_BYTES)
    except OSError:
        return []
    if b"\0" in data:
        return []
    lines = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").splitlines()
    return lines[:-1] if len(data) == _PEEK_BYTES and len(lines) > 1 else lines


def guesses_of_texts(listing: Listing) -> Iterator[Found]:
    """Reader, options, kind and doubts of each file that names audio, or holds it."""
    root, names = listing.root, listing.names
    yield from _json_lines(root, names)
    yield from _lists_of_shards(root, names)
    yield from _columns(root, names)
    tables = [name for name in names if splitext(name)[1].lower() in _TABLES]
    # A text beside its audio is no table; there may be millions.
    for name in [name for name in tables if audio_at(root, splitext(name)[0]) is None][:_MOST_FILES]:
        if (options := _table(listing, name)) is not None:
            yield "table", options, 1, ()


def _json_lines(root: CorpusRoot, names: list[str]) -> Iterator[Found]:
    found: Counter[ReaderName] = Counter()
    looked_at = [name for name in names if splitext(name)[1] in (".jsonl", ".list", ".json", ".ndjson")]
    for name in looked_at[:_MOST_FILES]:
        keys = _keys(peeked(root, name))
        if {"key", "wav", "txt"} <= keys:
            yield "wenet_list", {"file": name}, 2, ()
        elif "messages" in keys and "audios" in keys:
            found["jsonl"] += 1
        elif keys & {"conversations", "messages"} or {"instruction", "output"} <= keys:
            found["instructions"] += 1
        elif {"text", "speaker"} <= keys and keys & {"wav", "mp3"} and name.endswith(".jsonl"):
            found["emilia"] += 1
    for reader in found:
        yield reader, {}, 2, ()


def _keys(lines: list[str]) -> set[str]:
    """Keys of the first lines that are JSON objects."""
    keys: set[str] = set()
    for line in lines[:20]:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        keys |= set(value) if isinstance(value, dict) else set()
    return keys


def _lists_of_shards(root: CorpusRoot, names: list[str]) -> Iterator[Found]:
    lists = (name for name in names if splitext(name)[1] in (".list", ".txt", ".lst"))
    for name in islice((name for name in lists if audio_at(root, splitext(name)[0]) is None), _MOST_FILES):
        lines = [line.strip() for line in peeked(root, name)]
        if lines and all(line.endswith(".tar") for line in lines if line):
            yield "wenet_list", {"file": name, "data_type": "shard", "unlisted": "ignore"}, 2, ()


def _columns(root: CorpusRoot, names: list[str]) -> Iterator[Found]:
    for name in [name for name in names if is_columnar(name) and not is_cache(root, name)][:1]:
        try:
            with root.open(name) as stream:
                schema = ColumnFile(stream).schema
        except (AudioFaultError, OSError):
            continue
        audio, columns = audio_columns(schema), schema.names
        text, answer = _first(_TEXT, columns), _first(("answer", "response", "reply"), columns)
        if not audio or (text is None and answer is None):
            continue
        options: dict[str, Any] = {} if len(audio) == 1 else {"audio": audio[0]}
        known = {"text": text, "answer": answer, "speaker": _first(_SPEAKER, columns)}
        known |= {"language": _first(_LANGUAGE, columns), "id": _first(_ID, columns)}
        if answer is not None and len(audio) > 1:
            known["answer_audio"] = audio[1]
        yield "huggingface", options | {key: value for key, value in known.items() if value}, 2, ()


def _table(listing: Listing, name: str) -> dict[str, Any] | None:
    """The options of reader ``table``, if a column of the file names audio and another one may be text."""
    lines = [line for line in peeked(listing.root, name)[:200] if line.strip()]
    comment = next((mark for mark in (";", "#") if lines and lines[0].startswith(mark)), None)
    lines = [line for line in lines if comment is None or not line.startswith(comment)]
    for delimiter in sorted(_DELIMITERS, key=lambda one: -sum(one in line for line in lines)):
        if not lines or sum(delimiter in line for line in lines) < 0.5 * len(lines):
            return None
        options = _delimited(listing, name, lines, delimiter)
        if options is not None:
            return options | ({"comment": comment} if comment else {})
    return None


def _delimited(listing: Listing, name: str, lines: list[str], delimiter: str) -> dict[str, Any] | None:
    try:
        rows = list(csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL))
    except csv.Error:
        return None
    width = Counter(map(len, rows)).most_common(1)[0][0]
    rows = [[cell.strip() for cell in row] for row in rows if len(row) == width]
    if width < 2 or not rows:
        return None
    named = [_path_form(listing, name, [row[column] for row in rows]) for column in range(width)]
    audio = next((column for column, form in enumerate(named) if form), None)
    if audio is None:
        return None
    form = named[audio]
    has_header = _located(listing.root, str(form), rows[0][audio]) is None
    header = rows[0] if has_header else []
    text = _text_column(header, rows[1 if has_header else 0 :], audio)
    if text is None:
        return None
    columns = header or [f"column{place + 1}" for place in range(width)]
    columns[audio], columns[text] = columns[audio] or "audio", columns[text] or "text"
    if not has_header:
        columns[audio], columns[text] = "audio", "text"
    options: dict[str, Any] = {"file": name, "audio": columns[audio], "text": columns[text]}
    for option, usual in (("speaker", _SPEAKER), ("language", _LANGUAGE)):
        if (column := _first(usual, header)) is not None:
            options[option] = column
    if not has_header:
        options["columns"] = columns
    options |= {"delimiter": delimiter} if delimiter != "," else {}
    return options | ({"audio_path": form} if form != "{audio}" else {})


def _path_form(listing: Listing, table: str, cells: list[str]) -> str | None:
    """Where the cells' audio lies, ``{audio}`` standing for the cell, if most of them name some."""
    forms: Counter[str] = Counter()
    folder = dirname(table)
    beside = [join(folder, "{audio}")] + [
        join(folder, sub, "{audio}") for sub in ("wavs", "wav", "clips", "audio")
    ]
    simple = list(dict.fromkeys(["{audio}", *beside]))
    for cell in cells:
        form = next((form for form in simple if _located(listing.root, form, cell)), None)
        if form is None and cell:
            stem = listing.by_name.get(basename(cell)) or listing.by_name.get(splitext(basename(cell))[0])
            if stem and splitext(stem)[0].endswith(f"/{cell}"):
                form = stem[: -len(cell + splitext(stem)[1])] + "{audio}" + splitext(stem)[1]
        if form is not None:
            forms[form] += 1
    (best, count), *_ = forms.most_common(1) or [("", 0)]
    return best if count >= 0.5 * max(len(cells) - 1, 1) else None


def _located(root: CorpusRoot, form: str, cell: str) -> str | None:
    path = form.replace("{audio}", cell)
    return path if cell and path in root.files else None


def _text_column(header: list[str], rows: list[list[str]], audio: int) -> int | None:
    if header:
        named = _first(_TEXT, header)
        return None if named is None or header.index(named) == audio else header.index(named)
    # Without names: the column with the most words, most of which must be letters.
    words = [sum(len(row[column].split()) for row in rows) for column in range(len(rows[0]))] if rows else []
    best = max(
        (column for column in range(len(words)) if column != audio), key=lambda n: words[n], default=None
    )
    if best is None:
        return None
    said = "".join(row[best] for row in rows)
    letters = sum(character.isalpha() for character in said)
    return best if said and letters > _MOST_TEXT_SHARE * len(said) else None


def _first(wanted: tuple[str, ...], columns: list[str]) -> str | None:
    return next((column for usual in wanted for column in columns if column.lower() == usual), None)
