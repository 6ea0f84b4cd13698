"""A mixed corpora file made on the spot: small corpora in several layouts, each with rows that are at fault."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import yaml
from speech_like import speech_like as speech

_RATE_HZ = 16_000


def speech_like(seconds: float, seed: int = 0, rate_hz: int = _RATE_HZ) -> np.ndarray:
    """See :mod:`speech_like`."""
    return speech(seconds, rate_hz, seed)


def wav(seconds: float = 1.0, seed: int = 0, rate_hz: int = _RATE_HZ) -> bytes:
    """A good recording as the bytes of a WAV file."""
    buffer = io.BytesIO()
    sf.write(buffer, speech_like(seconds, seed, rate_hz), rate_hz, format="WAV")
    return buffer.getvalue()


def put(path: Path, content: bytes | str) -> Path:
    """A file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def tar_of(members: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    """A tar of files, and of symbolic links by name."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return buffer.getvalue()


def mixed_corpora(folder: Path, names: Sequence[str] = ()) -> Path:
    """The corpora with their corpora file, whose path is given.

    Args:
        names: Of those that are made; none: all.
    """
    entries = [make(folder / name) for name, make in _MAKERS.items() if name in names or not names]
    return put(folder / "corpora.yaml", yaml.safe_dump({"corpora": entries}, sort_keys=False))


def entry(name: str, reader: str, **more: Any) -> dict[str, Any]:
    """A corpus of a corpora file, in the folder of its name."""
    return {"name": name, "reader": reader, "root": name, "licence": "CC0-1.0", "language": "en", **more}


def _listed(root: Path) -> dict[str, Any]:
    texts = {f"u{n}": f"sentence number {n} of this list" for n in range(5)}
    lines = [f"{name}|{text}|{text}" for name, text in texts.items()]
    for seed, name in enumerate(texts):
        put(root / "wavs" / f"{name}.wav", wav(seed=seed))
    put(root / "wavs/copy.wav", wav(seed=1))
    put(root / "wavs/cut.wav", wav(seed=7)[:20_000])
    put(root / "wavs/html.wav", "<html>not found</html>")
    lines += ["copy|again|again", "cut|cut short|cut short", "html|no sound|no sound", "gone|no file|no file"]
    lines += ["u0|the same id|the same id", "u1|", "../u2|outside|outside"]
    put(root / "metadata.csv", "\n".join(lines) + "\n")
    rules = [{"by": "field", "field": "utterance_id", "values": ["u1", "u3"]}]
    return entry("lj", "ljspeech", split=rules)


def _shards(root: Path) -> dict[str, Any]:
    members: dict[str, bytes] = {}
    for seed in range(20, 24):
        members |= {f"k{seed}.wav": wav(seed=seed), f"k{seed}.txt": f"words of member {seed}".encode()}
    members |= {"../out.wav": wav(seed=3), "../out.txt": b"outside", "alone.wav": wav(seed=5)}
    put(root / "a.tar", tar_of(members, {"link.wav": "/dev/zero"}))
    put(root / "cut.tar", tar_of({"z.wav": wav(seed=30), "z.txt": b"in a tar that is cut"})[:-5_000])
    put(root / "data.list", "a.tar\ncut.tar\ngone.tar\n")
    options = {"data_type": "shard"}
    return entry(
        "shards", "wenet_list", options=options, audio={"view_16k": True, "loudness": {"method": "r128"}}
    )


def _cut(root: Path) -> dict[str, Any]:
    put(root / "wav/long.wav", wav(6.0, 40, 22_050))
    put(root / "wav.scp", "long wav/long.wav\nhost cat /etc/passwd |\n")
    spans = [(0.0, 1.5), (1.2, 2.9), (3.0, 4.4), (4.5, 6.0), (5.0, 9.0), (2.0, 1.0)]
    put(root / "segments", "".join(f"s{n} long {start} {end}\n" for n, (start, end) in enumerate(spans)))
    put(root / "text", "".join(f"s{n} part number {n}\n" for n in range(len(spans))))
    return entry("long", "kaldi", audio={"channels": "first"})


def _talks(root: Path) -> dict[str, Any]:
    rows = []
    for number in range(4):
        audios = [f"q{number}.wav", f"a{number}.wav"]
        for place, name in enumerate(audios):
            put(root / name, wav(seed=50 + 2 * number + place))
        replies = [
            {"role": "user", "content": "<|audio|>"},
            {"role": "assistant", "content": f"answer {number}\n<|audio|>"},
        ]
        rows.append({"id": f"t{number}", "messages": replies, "audios": audios})
    put(root / "a3.wav", b"RIFF")
    rows.append({"messages": [{"role": "user", "content": "how?"}, {"role": "assistant", "content": "so"}]})
    lines = [json.dumps(row) for row in rows] + ["[" * 5_000, '{"messages": []}']
    put(root / "rows.jsonl", "\n".join(lines) + "\n")
    return entry("talks", "jsonl")


def _voices(root: Path) -> dict[str, Any]:
    """Recordings that become rows of their pieces, each channel for itself."""
    for number in range(2):
        sides = [
            np.pad(speech_like(4.0, 70 + 2 * number + side), (side * 8_000, 24_000 - side * 8_000))
            for side in (0, 1)
        ]
        buffer = io.BytesIO()
        sf.write(buffer, np.stack(sides, axis=1), _RATE_HZ, format="FLAC")
        put(root / f"{number}.flac", buffer.getvalue())
    put(root / "cut.flac", buffer.getvalue()[:60_000])
    pieces = {"segmentation": {"min_s": 1.0, "max_s": 4.0}, "audio": {"channels": "split"}}
    return entry("voices", "untranscribed", options={"purpose": "tokenizer"}, **pieces)


def _people(root: Path) -> dict[str, Any]:
    """Two speakers, one recording of whom is the same."""
    lines = ["file,text,who"]
    for seed, name in enumerate(("zebediah", "zebediah", "ben", "ben", "ben")):
        put(root / f"{name}{seed}.wav", wav(seed=80 + seed))
        lines.append(f"{name}{seed}.wav,words number {seed} by {name},{name}")
    put(root / "ben4.wav", wav(seed=81))
    put(root / "rows.csv", "\n".join(lines) + "\n")
    options = {"file": "rows.csv", "audio": "file", "text": "text", "speaker": "who"}
    return entry("people", "table", options=options)


_MAKERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "lj": _listed,
    "shards": _shards,
    "long": _cut,
    "talks": _talks,
    "voices": _voices,
    "people": _people,
}
