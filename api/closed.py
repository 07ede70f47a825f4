"""Addresses of clients that are not listened to for a while."""

from __future__ import annotations

import threading
import time


class Closed:
    """Addresses that are closed for a while, as this process has found out.

    Kept here and not asked for, so that the limit costs nothing where nobody fails; each process
    learns of an address by one failure more.
    """

    MOST = 10_000

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()

    def note(self, who: str, seconds: float) -> None:
        """Close an address."""
        with self._lock:
            if len(self._until) >= self.MOST:
                self._until.clear()
            self._until[who] = time.monotonic() + seconds

    def left(self, who: str) -> float:
        """Return for how many seconds an address is still closed."""
        with self._lock:
            left = self._until.get(who, 0.0) - time.monotonic()
            if left <= 0:
                self._until.pop(who, None)
        return max(0.0, left)
