"""What the names of a corpus' files, and the first lines of its texts, say about which reader would read it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from posixpath import basename, dirname, join, splitext
from typing import Any

from assets.audio.members import tar_members
from assets.audio.problem import AudioFaultError
from assets.corpora.guessed_texts import Listing, guesses_of_texts, peeked
from assets.corpora.readers import ReaderName
from assets.corpora.recordings import audio_at, is_audio
from assets.corpora.root import CorpusRoot

_LANGUAGE_FOLDER = re.compile(r"[a-z]{2}(?:[-_][A-Za-z]{2,4})?")
_MOST_MEMBERS = 200  # of a tar, to see what is in it
_PARTS = re.compile(r"[_-]")


@dataclass(frozen=True, slots=True)
class Part:
    """One entry of a corpora file: options of a reader, and the language where names state it."""

    options: dict[str, Any]
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Guess:
    """A reader that the files speak for.

    Attributes:
        parts: One entry each: layouts that are kept per language need several.
        kind: 2: the layout has files that no other has; 1: texts or tables that name audio; 0: only audio files.
        doubts: What a person must decide or check, since nothing states it.
    """

    reader: ReaderName
    parts: tuple[Part, ...]
    kind: int
    doubts: tuple[str, ...] = field(default=())


def guesses(listing: Listing) -> Iterator[Guess]:
    """Every reader that something speaks for; nothing of a file is read but its first lines."""
    root, names = listing.root, listing.names
    yield from _by_file_names(listing)
    yield from _ljspeech(listing)
    yield from _common_voice(listing)
    yield from _kaldi(root, names)
    yield from _emilia(root, names)
    yield from _sidecar(root, names)
    for reader, options, kind, doubts in guesses_of_texts(listing):
        yield Guess(reader, (Part(options),), kind, doubts)
    yield from _audio_alone(names)


def _by_file_names(listing: Listing) -> Iterator[Guess]:
    root, names = listing.root, listing.names
    ends: tuple[tuple[ReaderName, str, dict[str, Any]], ...] = (
        ("librispeech", ".trans.txt", {}),
        ("libritts", ".normalized.txt", {}),
    )
    for reader, end, options in ends:
        if any(name.endswith(end) for name in names):
            yield Guess(reader, (Part(options),), 2)
    if any(
        basename(name) == "transcripts.txt" and join(dirname(name), "audio") in listing.folders
        for name in names
    ):
        yield Guess("mls", (Part({}),), 2)
    for name in names:
        if name.endswith("transcript/aishell_transcript_v0.8.txt"):
            yield Guess("aishell1", (Part({"transcript": name}, "zh"),), 2)
        if basename(name) in ("WenetSpeech.json", "GigaSpeech.json"):
            is_wenet = basename(name).startswith("W")
            reader = "wenetspeech" if is_wenet else "gigaspeech"
            yield Guess(reader, (Part({"file": name}, "zh" if is_wenet else "en"),), 2)
    for file, text in (("content.txt", "content"), ("label_train-set.txt", "label")):
        if any(basename(name) == file and join(dirname(name), "wav") in listing.folders for name in names):
            yield Guess("aishell3", (Part({} if text == "content" else {"text": text}, "zh"),), 2)
            break
    if any("/wavs/" in f"/{name}" and _wenetspeech4tts_text(root, name) for name in names[:1000]):
        yield Guess("wenetspeech4tts", (Part({}, "zh"),), 2)
    stems = {stem for stem, end in map(splitext, names) if end == ".fileids"}
    if any(end == ".transcription" and stem in stems for stem, end in map(splitext, names)):
        lists = sorted(stems)
        yield Guess("sphinx", (Part(_sphinx_options(root, lists)),), 2)


def _wenetspeech4tts_text(root: CorpusRoot, name: str) -> bool:
    folder, file = dirname(name), splitext(basename(name))[0]
    return is_audio(name) and join(dirname(folder), "txts", f"{file}.txt") in root.files


def _sphinx_options(root: CorpusRoot, lists: list[str]) -> dict[str, Any]:
    for stem in lists:
        for line in peeked(root, f"{stem}.fileids")[:5]:
            for folder in ("", "wav", "wavs", "audio"):
                if folder and audio_at(root, join(folder, line.strip())):
                    return {"audio_folder": folder}
                if audio_at(root, join(dirname(stem), line.strip())):
                    return {}
    return {}


def _ljspeech(listing: Listing) -> Iterator[Guess]:
    root, names = listing.root, listing.names
    for name in names:
        folder = join(dirname(name), "wavs")
        if splitext(name)[1] not in (".csv", ".txt") or folder not in listing.folders:
            continue
        lines = [line for line in peeked(root, name) if "|" in line]
        if not lines:
            continue
        options: dict[str, Any] = {} if name == "metadata.csv" else {"metadata": name}
        columns = Counter(line.count("|") + 1 for line in lines).most_common(1)[0][0]
        if columns not in (2, 3):
            continue
        if columns == 2:
            options["columns"] = 2
        if len(lines) > 1 and audio_at(root, join(folder, lines[0].partition("|")[0].strip())) is None:
            first = lines[0].partition("|")[0].strip().lower()
            if first in ("id", "file", "filename", "file_name", "path", "name", "wav"):
                options["header"] = True
        doubts = ("speaker: LJ is assumed to be the only one; see the options speaker and speaker_pattern",)
        yield Guess("ljspeech", (Part(options),), 2, doubts)


def _common_voice(listing: Listing) -> Iterator[Guess]:
    root, names = listing.root, listing.names
    lists: dict[str, list[str]] = {}
    for name in names:
        if name.endswith(".tsv") and join(dirname(name), "clips") in listing.folders:
            header = (peeked(root, name) or [""])[0].split("\t")
            if {"client_id", "path", "sentence"} <= set(header):
                lists.setdefault(dirname(name), []).append(name)
    if not lists:
        return
    parts = []
    for folder, found in lists.items():
        wanted = [join(folder, f"{list_name}.tsv") for list_name in ("validated", "train", "dev", "test")]
        name = next((one for one in wanted if one in found), found[0])
        language = basename(folder)
        parts.append(Part({"file": name}, language if _LANGUAGE_FOLDER.fullmatch(language) else None))
    yield Guess("common_voice", tuple(parts), 2)


def _kaldi(root: CorpusRoot, names: list[str]) -> Iterator[Guess]:
    for name in names:
        folder = dirname(name)
        if basename(name) == "wav.scp" and join(folder, "text") in root.files:
            options: dict[str, Any] = {"directory": folder} if folder else {}
            paths = [
                line.split(maxsplit=1)[1].strip() for line in peeked(root, name) if len(line.split()) > 1
            ]
            options |= prefix_option(root, paths)
            yield Guess("kaldi", (Part(options),), 2)


def prefix_option(root: CorpusRoot, paths: list[str]) -> dict[str, Any]:
    """``strip_prefix``, where the paths are of another folder: what stands before the names of files below the root."""
    for path in paths[:5]:
        if path in root.files or is_below(root, path):
            return {}
        cells = path.split("/")
        for start in range(1, len(cells)):
            if "/".join(cells[start:]) in root.files:
                return {"strip_prefix": "/".join(cells[:start]) + "/"}
    return {}


def is_below(root: CorpusRoot, path: str) -> bool:
    """Whether it is an absolute path of a file below the root."""
    return path.removeprefix(f"{root.path}/") in root.files


def _emilia(root: CorpusRoot, names: list[str]) -> Iterator[Guess]:
    beside = sum(name.endswith(".json") and audio_at(root, name[:-5]) is not None for name in names)
    packed = any(_is_emilia_tar(root, name) for name in names[:1000] if name.endswith(".tar"))
    if beside or packed:
        yield Guess("emilia", (Part({}),), 2)


def _is_emilia_tar(root: CorpusRoot, name: str) -> bool:
    stems: dict[str, set[str]] = {}
    try:
        with root.open(name) as stream:
            for index, member in enumerate(tar_members(stream)):
                stem, end = splitext(member.name)
                stems.setdefault(stem, set()).add(end if end == ".json" else "audio" * is_audio(member.name))
                if {".json", "audio"} <= stems[stem]:
                    return True
                if index > _MOST_MEMBERS:
                    break
    except (AudioFaultError, OSError):
        return False
    return False


def _sidecar(root: CorpusRoot, names: list[str]) -> Iterator[Guess]:
    counts: Counter[str] = Counter()
    for name in names:
        for suffix in (".txt", ".lab"):
            if name.endswith(suffix) and audio_at(root, name.removesuffix(suffix)) is not None:
                counts[suffix] += 1
    for suffix, _ in counts.most_common():
        options: dict[str, Any] = {} if suffix == ".txt" else {"suffix": suffix}
        yield Guess("sidecar", (Part(options | pattern_option(names)),), 1)


def pattern_option(names: list[str]) -> dict[str, Any]:
    """``pattern`` with the language, where the first folder of every recording is named after one."""
    folders = {name.split("/")[0] if "/" in name else "" for name in names if is_audio(name)}
    if len(folders) > 1 and all(_LANGUAGE_FOLDER.fullmatch(folder) for folder in folders):
        return {"pattern": r"(?P<language>[a-z]{2}(?:[-_]\w+)?)/.*"}
    return {}


def _audio_alone(names: list[str]) -> Iterator[Guess]:
    audio = [name for name in names if is_audio(name)]
    if not audio:
        return
    pattern = _labels_pattern(audio)
    if pattern is not None:
        doubts = (
            "pattern: the group label must be the part of the name that is said; its meaning (labels) is not known",
        )
        yield Guess("labelled_names", (Part({"pattern": pattern}),), 0, doubts)
    doubts = ("purpose: tokenizer is assumed; transcription is for speech that waits for its text",)
    yield Guess("untranscribed", (Part({"purpose": "tokenizer"} | pattern_option(names)),), 0, doubts)


def _labels_pattern(audio: list[str]) -> str | None:
    """A pattern of names that have the same number of parts, one of which has few values."""
    names = [basename(name) for name in audio]
    splits = [_PARTS.split(splitext(name)[0]) for name in names]
    ends = {splitext(name)[1] for name in names}
    width = len(splits[0])
    if width < 2 or len(ends) != 1 or any(len(parts) != width for parts in splits) or len(names) < 8:
        return None
    values = [{parts[place] for parts in splits} for place in range(width)]
    end = re.escape(ends.pop())
    if all(found == values[0] for found in values):
        return rf"(?P<label>.+){end}"
    few = [place for place, found in enumerate(values) if 2 <= len(found) <= len(names) // 4]
    if not few:
        return None
    dividers = _PARTS.findall(splitext(names[0])[0])
    groups = [f"(?P<{'label' if place == few[0] else f'part{place + 1}'}>[^_-]+)" for place in range(width)]
    return "".join(f"{group}{divider}" for group, divider in zip(groups, [*dividers, end], strict=True))
