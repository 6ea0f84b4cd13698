"""What is free goes back to the system, in whatever order the libraries are loaded."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

_ASK = "import validation.batches, pyarrow; print(pyarrow.default_memory_pool().backend_name)"


@pytest.mark.parametrize(
    ("said", "backend"), [({}, "system"), ({"ARROW_DEFAULT_MEMORY_POOL": "mimalloc"}, "mimalloc")]
)
def test_arrow_takes_the_allocator_that_gives_back_unless_told_otherwise(said, backend):
    known = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    done = subprocess.run(
        [sys.executable, "-c", _ASK], env=known | said, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == backend


_COUNT_ARENAS = """
import ctypes, pathlib, sys, threading
import validation
size = 1 << 16  # below what is mapped by itself
held = []
threads = [threading.Thread(target=lambda: held.append(ctypes.create_string_buffer(size))) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
stream = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, stream)
libc.fclose(stream)
print(pathlib.Path(sys.argv[1]).read_text().count("<heap "))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="arenas are glibc's")
@pytest.mark.parametrize(("said", "one"), [({}, True), ({"MALLOC_ARENA_MAX": "8"}, False)])
def test_threads_share_one_arena_unless_told_otherwise(said, one, tmp_path):
    known = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    command = [sys.executable, "-c", _COUNT_ARENAS, str(tmp_path / "arenas.xml")]
    done = subprocess.run(command, env=known | said, capture_output=True, text=True, check=True)
    assert (int(done.stdout) == 1) is one
