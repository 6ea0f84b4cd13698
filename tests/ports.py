"""Ports for servers that a test starts."""

from __future__ import annotations

import socket

HOST = "127.0.0.1"


def free_port() -> int:
    """A port of this machine on which nobody listens, and which the system gives to nobody else while this process is.

    A socket that does not listen holds it: who asks for it by its number, with ``SO_REUSEADDR`` as servers do, gets it.
    Picked and let go, it could be another's by the time that a server has started.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((HOST, 0))
    port: int = holder.getsockname()[1]
    holder.detach()  # open until this process ends
    return port
