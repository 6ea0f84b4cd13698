"""Hours per core-hour beside lhotse: the same recordings to 22.05 kHz WAV files, with the manifests of each.

    python tests/bench/beside_lhotse.py                                # made-up FLAC files
    python tests/bench/beside_lhotse.py --root ../shared/data/librispeech

lhotse is none of our packages: install it into an environment of its own that sees ours too. Where it is not to be
had, the benchmark says so, and gives our own figures. It resamples with torchaudio where that is installed, else with
scipy.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from figures import show
from resampling import audio_files, cpu_seconds, make_corpus, recorded

REPEATS = 3


def main() -> None:
    """Each in a process of its own, taking turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, help="a folder of recordings instead of made-up ones")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        what, root, names, target = options.child
        found = _timed(_CHILDREN[what], Path(root), json.loads(Path(names).read_text()), Path(target))
        sys.stdout.write("\n" + json.dumps(found) + "\n")
        return
    has_lhotse = importlib.util.find_spec("lhotse") is not None
    if not has_lhotse:
        sys.stdout.write("lhotse is not installed: only our own figures follow\n")
    from validation.lake import Lake

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        entry = make_corpus(place / "corpus") if options.root is None else recorded(options.root)
        files = [str(path) for path in audio_files(entry, Lake(str(place / "listed")))]
        (place / "files.json").write_text(json.dumps(files))
        variants = [name for name in _CHILDREN if has_lhotse or "lhotse" not in name]
        taken: dict[str, list[dict[str, Any]]] = {name: [] for name in variants}
        for repeat in range(options.repeats):
            for index, name in enumerate(variants):
                target = place / f"{repeat}-{index}"
                taken[name].append(_child(name, entry.root, place / "files.json", target))
    hours = taken[variants[0]][0]["hours"]
    rows = [
        {
            "what": name,
            "seconds": median(one["seconds"] for one in found),
            "CPU seconds": median(one["cpu_s"] for one in found),
            "hours per core-hour": 3600 * hours / median(one["cpu_s"] for one in found),
        }
        for name, found in taken.items()
    ]
    note = (
        f"{len(files)} files, {hours:.2f} h, median of {options.repeats}; without the imports of the main process. "
        "Ours reads, digests, verifies, measures and names by content besides; lhotse's does not."
    )
    show("beside lhotse, one worker", note, rows)


def _child(name: str, root: str, names: Path, target: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", name, root, str(names), str(target)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _timed(
    prepare: Callable[[Path, list[str], Path], Callable[[], None]], root: Path, files: list[str], target: Path
) -> dict[str, Any]:
    import soundfile

    target.mkdir()
    hours = sum(soundfile.info(file).duration for file in files) / 3600
    run = prepare(root, files, target)
    began, before = time.perf_counter(), cpu_seconds()
    run()
    return {"seconds": time.perf_counter() - began, "cpu_s": cpu_seconds() - before, "hours": hours}


def _voxline(root: Path, files: list[str], target: Path) -> Callable[[], None]:
    from assets.audio.resample import make_audio_22k
    from assets.corpora.ingest import ingest
    from validation.lake import Lake

    entry = recorded(root)
    lake = Lake(str(target))

    def run() -> None:
        ingest(entry, lake)
        assert make_audio_22k(entry, lake, 1).summary["files_done"] == len(files)

    return run


def _lhotse(root: Path, files: list[str], target: Path) -> Callable[[], None]:
    import torch
    from lhotse import CutSet, Recording, RecordingSet

    torch.set_num_threads(1)

    def run() -> None:
        found = (Recording.from_file(file, recording_id=str(place)) for place, file in enumerate(files))
        recordings = RecordingSet.from_recordings(found)
        recordings.to_file(target / "recordings.jsonl.gz")
        cuts = CutSet.from_manifests(recordings=recordings).resample(22_050)
        stored = cuts.save_audios(target / "audio", format="wav", progress_bar=False)
        stored.to_file(target / "cuts.jsonl.gz")
        assert len(list((target / "audio").rglob("*.wav"))) == len(files)

    return run


_CHILDREN: dict[str, Callable[[Path, list[str], Path], Callable[[], None]]] = {
    "voxline: raw_utterances, audio_22k": _voxline,
    "lhotse: manifests, resample, save_audios": _lhotse,
}


if __name__ == "__main__":
    main()
