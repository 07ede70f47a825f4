"""Slow answers: waiting that ends when the server stops, or when nobody waits for the answer."""

import socket
import threading
import time

_SLICE = 0.05


def wait(seconds: float, stopping: threading.Event, connection: socket.socket | None) -> bool:
    """Whether the caller is still there after that time.

    Data sources stop working for a caller who hung up; so tests see that a capture gives up what
    it no longer needs, and a query that was cancelled is not counted among those that run.
    """
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if stopping.wait(min(left, _SLICE)):
            return True
        if connection is not None and _hung_up(connection):
            return False
    return True


def _hung_up(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
