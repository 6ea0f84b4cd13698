"""How allocators treat memory that is free.

polars and DuckDB each bring a jemalloc, which keeps what is free for ten seconds, for each of its arenas: with rows in
their thousands that is more than what is in use, and the longer a step runs, the more of it there is.
"""

from __future__ import annotations

import ctypes
import os

_SETTINGS = ("_RJEM_MALLOC_CONF", "DUCKDB_JE_MALLOC_CONF")
_AT_ONCE = "dirty_decay_ms:0,muzzy_decay_ms:0"


def give_back_at_once() -> None:
    """Say so in the environment, for this process and those that it starts; what is set there already stays.

    They read it when they are loaded: to be called before polars and DuckDB are imported.
    """
    for name in _SETTINGS:
        os.environ.setdefault(name, _AT_ONCE)


def give_back_now() -> None:
    """Give back what the C library holds free, numpy's and Arrow's among it; for after some large arrays are gone."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's own
    if trim is not None:
        trim(0)
