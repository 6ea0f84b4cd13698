"""The data steps over a corpora file, watched: ``python -m robustness.guarded CORPORA LAKE ALLOWED``.

Ends at once, with code 3, where this process or one of its workers starts a program other than ALLOWED, connects to
anywhere, or writes a file outside of the lake and of the folder for temporary files. Prints the largest memory in use.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from robustness.data_steps import run

from assets.audio import pool
from assets.corpora.config import load_corpora
from assets.corpora.inspection import inspect_root
from assets.corpora.inspection_text import report
from assets.report import build as report_of
from validation.lake import Lake

_PROGRAMS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.startfile", "pty.spawn"}
_NETWORK = {"socket.connect", "socket.sendto", "urllib.Request", "http.client.connect"}
_CHANGES = {
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def watch(lake: Path, allowed: str) -> None:
    """From now on, in this process and its forks."""
    places = (str(lake), tempfile.gettempdir() + "/voxline-", "/dev/null", "/proc/self/fd", "/dev/shm")
    temporary = tempfile.gettempdir()

    def is_ours(path: object) -> bool:
        named = os.fspath(path) if isinstance(path, os.PathLike) else path
        if isinstance(named, int) or named == temporary:  # open already; a file without a name
            return True
        return isinstance(named, str) and named.startswith(places)

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        wrong = event in _NETWORK
        if event in _PROGRAMS:
            wrong = os.path.realpath(str(arguments[0])) != allowed
        elif event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES:
            wrong = not is_ours(arguments[0])
        elif event in _CHANGES:
            wrong = not all(is_ours(one) for one in arguments if isinstance(one, (str, os.PathLike)))
        if wrong:
            os.write(2, f"REFUSED {event} {arguments!r:.500}\n".encode())
            os._exit(3)

    sys.addaudithook(refuse)


def _own_peak_kib() -> int:
    """Unlike the kernel's ``ru_maxrss``, without what the process had that started this one."""
    (line,) = (
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")
    )
    return int(line.split()[1])


def main() -> None:
    """Run, and inspect each root as ``voxline corpora inspect`` does."""
    corpora, lake, allowed = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    report_of.histograms_markdown = lambda *_: "drawn"  # type: ignore[attr-defined]  # most of a run's time
    pool.get_context = lambda _: get_context("fork")  # type: ignore[attr-defined]  # so that workers are watched
    watch(lake, allowed)
    run(corpora, Lake(str(lake)), workers=1)
    said = {entry.name: report(inspect_root(entry.root)) for entry in load_corpora(corpora).corpora}
    peak = max(_own_peak_kib(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    sys.stdout.write(json.dumps({"peak_kib": peak, "inspected": said}) + "\n")


if __name__ == "__main__":
    main()
