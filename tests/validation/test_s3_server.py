"""The server that the tests start does not outlive a session that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from waiting import until

pytestmark = [pytest.mark.s3, pytest.mark.slow]

_SESSION = """
import s3_server, signal
running = s3_server._started(s3_server._moto_command, "moto")
print(next(running).gateway, flush=True)
signal.pause()
"""


@pytest.mark.skipif(find_spec("moto") is None, reason="moto is not installed")
def test_a_server_ends_with_a_killed_session() -> None:
    paths = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    session = subprocess.Popen(
        [sys.executable, "-c", _SESSION],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert session.stdout is not None
        server = psutil.Process(int(session.stdout.readline()))
        assert server.is_running()
        session.send_signal(signal.SIGKILL)
        until(lambda: not server.is_running(), "the server's end")
    finally:
        session.kill()
        session.wait()
