"""A small file system in memory."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

# Mounts of its own, which end with the process. Whoever is not root must be somebody else's root for that.
PRIVATE = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") >> 10
_ROOM = "256m"


class Disk:
    """One that is mounted over a folder, for this process and what it starts alone, as long as a block lasts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Disk:
        self._folder.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_ROOM}", "none", str(self._folder)], check=True)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "-l", str(self._folder)], check=True)

    def resize(self, kib: int | None) -> None:
        """Make it as small as that, or large again."""
        size = _ROOM if kib is None else f"{kib}k"
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self._folder)], check=True)


def used_kib(folder: Path) -> int:
    """What the files below a folder take in memory: whole pages."""
    sizes = (path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return sum(-(-size // (PAGE_KIB << 10)) * PAGE_KIB for size in sizes)


def can_mount() -> bool:
    """Whether a process may have a file system of its own here."""
    if shutil.which("unshare") is None:
        return False
    probe = [*PRIVATE, "mount", "-t", "tmpfs", "none", str(Path(__file__).parent)]
    return not subprocess.run(probe, capture_output=True, check=False).returncode
