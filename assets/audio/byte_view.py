"""Random access to a file's bytes without holding them: what parsers of headers read from."""

from __future__ import annotations

import os
from typing import IO

_WINDOW_BYTES = 1 << 16


class FileView:
    """The bytes of an open file, sliced like ``bytes``; one window of 64 KiB is held.

    Slices larger than the window are read as they are asked for: parsers ask for what a format's own fields limit.
    The position of the file stays where its other readers left it.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._descriptor = stream.fileno()
        self._size = os.fstat(self._descriptor).st_size
        self._start = 0
        self._window = b""

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, step = part.indices(self._size)
        assert step == 1, "views are read forwards"
        if stop <= start:
            return b""
        if stop - start > _WINDOW_BYTES:
            return os.pread(self._descriptor, stop - start, start)
        first = start - self._start
        if first < 0 or first + stop - start > len(self._window):
            self._window, self._start, first = os.pread(self._descriptor, _WINDOW_BYTES, start), start, 0
        return self._window[first : first + stop - start]


# A small file is its bytes: slicing them costs a tenth of slicing a view.
ByteView = bytes | FileView
