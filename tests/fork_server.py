"""The server from which the processes of pools are forked; a session of tests has one, whichever pool comes first."""

from __future__ import annotations

from multiprocessing import forkserver

_IMPORTED_ONCE = ["training_jobs.dialogue", "assets.audio.work"]


def fork_from_torch() -> None:
    """Have the next pool start a server that has imported what any pool wants.

    Else, where an earlier test has started one for another pool, each decoding process imports torch and transformers
    by itself: six seconds of computing for two of work. A user's program has one kind of pool, and the right server.
    """
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    forkserver.set_forkserver_preload(_IMPORTED_ONCE)
