"""The folder or URL that a corpus lies under: its listing, and the guard that nothing outside of it is read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from posixpath import splitext
from typing import IO, Any

from assets.audio.containers import AUDIO_SUFFIXES
from assets.corpora.listing import FileFact, Listing
from assets.corpora.utterance import SourceProblem
from validation.errors import UserError
from validation.remote import filesystem_of, is_s3
from validation.scratch import scratch_room

# Of one line: conversations of a hundred thousand words fit, and a hostile file does not fill the memory.
MOST_LINE_BYTES = 8 << 20


class OutsideRootError(UserError):
    """A path in a corpus' metadata that leads out of the corpus' root."""


class CorpusRoot:
    """Read-only access to the files below ``root``, all named relative to it with forward slashes."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._is_s3 = is_s3(root)
        filesystem, path = filesystem_of(root)
        protocols = (filesystem.protocol,) if isinstance(filesystem.protocol, str) else filesystem.protocol
        self._is_local = "file" in protocols
        # The root itself may be a link (a mounted data disk); what counts as inside is decided behind it.
        self.path: str = str(Path(path).resolve()) if self._is_local else path.rstrip("/")
        self._url: str = self.path if self._is_local else filesystem.unstrip_protocol(self.path)

    @property
    def _fs(self) -> Any:
        # Asked for each time: the client of a store does not outlive a fork.
        return filesystem_of(self._root)[0]

    @property
    def exists(self) -> bool:
        """Whether the root is a folder that is there (for an object store: a prefix that is not empty).

        Raises:
            validation.remote.StoreError: if the store, not the prefix, is not to be had.
        """
        if self._is_s3:
            return next(self._fs.objects(self.path, most=1), None) is not None
        return bool(self._fs.isdir(self.path))

    def has(self, name: str) -> bool:
        """Whether there is a file of that name, without listing the root."""
        full = f"{self.path}/{name}"
        return self._fs.head(full) is not None if self._is_s3 else bool(self._fs.isfile(full))

    @property
    def files(self) -> Listing:
        """All files below the root, sorted by name; listed once. Hidden files and folders are not part of a corpus."""
        return self._listing[0]

    @property
    def faults(self) -> list[SourceProblem]:
        """What is not among :attr:`files`: links out of the root, unreadable folders, keys with ``..``."""
        return self._listing[1]

    @cached_property
    def _listing(self) -> tuple[Listing, list[SourceProblem]]:
        faults: list[SourceProblem] = []
        found = self._list_local(faults) if self._is_local else self._list_remote(faults)
        with scratch_room():
            listing = Listing(found)
        return listing, sorted(faults, key=lambda fault: fault.source)

    def audio_files(self, folder: str = "") -> Iterator[str]:
        """The audio files (by extension) below ``folder``, in order."""
        for name in self.files.below(folder):
            if splitext(name)[1].lower() in AUDIO_SUFFIXES:
                yield name

    def listing_digest(self) -> str:
        """Digest of every file's name, size and version: it changes when the corpus may have changed."""
        return self.files.digest((fault.source, fault.detail) for fault in self.faults)

    def uri(self, name: str) -> str:
        """What opens the file from anywhere: an absolute path or a URL."""
        return f"{self._url}/{name}"

    def open(self, name: str) -> IO[bytes]:
        """Open a file of the listing for reading."""
        full = f"{self.path}/{name}"
        if self._is_local:
            return Path(full).open("rb")
        stream: IO[bytes] = self._fs.open(full, "rb")
        return stream

    def lines(self, name: str) -> Iterator[tuple[int, bytes]]:
        """Numbered lines, from 1, without their ends; a byte order mark at the start is dropped.

        Of a line above :data:`MOST_LINE_BYTES` comes a byte or two more than that, and the rest of it is skipped.
        """
        with self.open(name) as stream:
            number, most = 0, MOST_LINE_BYTES + len(b"\r\n")
            while line := stream.readline(most):
                number += 1
                rest = line
                while len(rest) == most and not rest.endswith(b"\n"):
                    rest = stream.readline(most)
                # What is cut off in the middle may have the byte of a line's end there.
                text = line.rstrip(b"\r\n") if rest is line else line
                yield number, text.removeprefix(b"\xef\xbb\xbf") if number == 1 else text

    def text_fault(self, name: str) -> SourceProblem | None:
        """Why a file of the listing that holds the corpus' texts cannot be read, if it cannot."""
        try:
            if self.resolve(name) is not None:
                return None
        except OutsideRootError as error:
            return SourceProblem(name, name, "outside_root", f"{name}: {error}")
        return SourceProblem(name, name, "missing_file", f"{name}: is a link that leads to no file")

    def resolve(self, named: str) -> str | None:
        """The listed file that a corpus names; ``None`` where there is no such file.

        Args:
            named: Relative to the root, or absolute (a path or a URL) below it.

        Raises:
            OutsideRootError: if the name, or a link that it goes through, leads out of the root.
        """
        name = named.removeprefix(f"{self.path}/") if self._is_local else named
        listed = self.files.fact(name)
        if listed is not None and not listed.is_link:
            # A key is a key, however many slashes it has; and a file that is listed lies in no linked folder.
            return name if listed.is_file else None
        try:
            name = self._relative(named)
            if self._is_local:
                real = Path(self.path, name).resolve()
                if not real.is_relative_to(self.path):
                    raise OutsideRootError(f"{named!r} is a link to {real}, outside the root {self.path}")
                if name not in self.files and real.is_file():
                    # reached through a link to a folder inside the root
                    name = real.relative_to(self.path).as_posix()
        except (OSError, RuntimeError):  # a name longer than the file system takes; links in a circle
            return None
        fact = self.files.fact(name)
        return name if fact is not None and fact.is_file else None

    def _relative(self, named: str) -> str:
        if ".." in named.split("/") or "\0" in named:
            raise OutsideRootError(
                f"{named!r} leads out of its folder; only paths below {self.path} are allowed"
            )
        name = named
        if "://" in name:
            own = f"{self._url}/"
            if not name.startswith(own):
                raise OutsideRootError(f"{named!r} is not below the root {own}")
            name = name[len(own) :]
        elif name.startswith("/"):
            real = Path(name).parent.resolve() / Path(name).name
            if not self._is_local or not real.is_relative_to(self.path):
                raise OutsideRootError(f"{named!r} is an absolute path outside the root {self.path}")
            name = real.relative_to(self.path).as_posix()
        return PurePosixPath(name).as_posix()

    def _list_local(self, faults: list[SourceProblem]) -> Iterator[tuple[str, FileFact]]:
        # Paths as text and a folder's entries one by one: as objects, and all at once, those of a large listing would
        # take most of the time and of the memory.
        waiting = [""]
        while waiting:
            below = waiting.pop()
            try:
                with os.scandir(f"{self.path}/{below}") as entries:
                    for entry in entries:
                        if entry.name.startswith("."):
                            continue
                        name = f"{below}/{entry.name}" if below else entry.name
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(name)
                        elif _is_linked_folder(entry):
                            # Not followed: it may lead anywhere, and in circles.
                            if fault := self._folder_fault(Path(self.path, name)):
                                faults.append(fault)
                        else:
                            yield name, _fact(entry)
            except OSError as error:
                name = below or "."
                detail = f"{name}: the folder cannot be read: {error.strerror}"
                faults.append(SourceProblem(name, name, "unreadable", detail))

    def _folder_fault(self, folder: Path) -> SourceProblem | None:
        if not folder.is_symlink():
            return None
        real, name = folder.resolve(), folder.relative_to(self.path).as_posix()
        # What lies inside is listed at its own place, unless that is a hidden one.
        if real.is_relative_to(self.path) and not any(
            part.startswith(".") for part in real.relative_to(self.path).parts
        ):
            return None
        detail = (
            f"{name}: is a link to the folder {real}, which is not among those below the root {self.path} that "
            "are read"
        )
        return SourceProblem(name, name, "outside_root", detail)

    def _list_remote(self, faults: list[SourceProblem]) -> Iterator[tuple[str, FileFact]]:
        for name, fact in self._objects():
            parts = name.split("/")
            if ".." in parts or "." in parts:
                detail = f"{name!r} is a key with '..' or '.' in it, which leads elsewhere as a path; it is not read"
                faults.append(SourceProblem(name, name, "outside_root", detail))
            elif name.endswith("/"):  # what consoles make for an empty folder
                if fact.size:
                    detail = f"{name!r} is named like a folder and holds {fact.size} bytes; it is not read"
                    faults.append(SourceProblem(name, name, "unreadable", detail))
            elif not any(part.startswith(".") for part in parts):
                yield name, fact

    def _objects(self) -> Iterator[tuple[str, FileFact]]:
        if self._is_s3:
            for one in self._fs.objects(self.path):
                yield one.name, FileFact(one.size, one.version)
            return
        self._fs.invalidate_cache(self.path)
        for full, info in self._fs.find(self.path, detail=True).items():
            yield full[len(self.path) + 1 :], FileFact(int(info["size"]), _version(info))


def _is_linked_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_symlink() and entry.is_dir()
    except OSError:  # in a circle
        return False


def _fact(entry: os.DirEntry[str]) -> FileFact:
    try:
        status = entry.stat()
    except OSError as error:  # a link to nothing, or in a circle
        return FileFact(0, str(error.strerror), is_file=False, is_link=True)
    is_file = stat.S_ISREG(status.st_mode)
    return FileFact(status.st_size, str(status.st_mtime_ns), is_file, entry.is_symlink())


def _version(info: dict[str, Any]) -> str:
    return str(info.get("ETag") or info.get("LastModified") or info.get("mtime") or "")
