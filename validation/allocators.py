"""How allocators treat memory that is free.

polars and DuckDB each bring a jemalloc, which keeps what is free for ten seconds, for each of its arenas: with rows in
their thousands that is more than what is in use, and the longer a step runs, the more of it there is. Arrow brings
mimalloc, which keeps for good what each of its threads once needed; the C library's own is as fast here. Arrow asks the
environment for it once: a pool that is set from Python is not that of its own functions.

The C library's own has an arena for each thread. A batch that one thread makes and another lets go leaves gaps in both
that neither fills: of two million rows, 100 MB. One arena for all costs no time that could be measured.
"""

from __future__ import annotations

import ctypes
import os

# Milliseconds. At once, polars would take a sixth more time: what one operation frees, the next one asks for.
_KEPT_MS = {"_RJEM_MALLOC_CONF": 10, "DUCKDB_JE_MALLOC_CONF": 0}

_M_ARENA_MAX = -8  # of glibc's malloc.h


def give_back_soon() -> None:
    """Say so, for this process and, in the environment, those that it starts; what is set there already stays.

    They read it when they are loaded: to be called before polars, DuckDB and Arrow are imported.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    for name, kept_ms in _KEPT_MS.items():
        os.environ.setdefault(name, f"dirty_decay_ms:{kept_ms},muzzy_decay_ms:0")
    # Glibc reads its environment before Python runs.
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None and "MALLOC_ARENA_MAX" not in os.environ:
        set_option(_M_ARENA_MAX, 1)


def give_back_now() -> None:
    """Give back what the C library holds free, numpy's and Arrow's among it; for after some large arrays are gone."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's own
    if trim is not None:
        trim(0)
