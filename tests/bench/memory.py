"""What processes take of the memory: proportional set size, where the system tells it.

Shared pages count by their share (PSS); else, as on macOS, the resident size stands for it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self

import psutil

INTERVAL = 0.1


def descendants() -> set[psutil.Process]:
    """Return all processes below this one."""
    return set(psutil.Process().children(recursive=True))


def tree(roots: Iterable[psutil.Process]) -> set[psutil.Process]:
    """Return these processes, as far as they still run, and all below them."""
    found: set[psutil.Process] = set()
    for root in roots:
        with suppress(psutil.Error):
            found |= {root, *root.children(recursive=True)}
    return found


def megabytes(processes: Iterable[psutil.Process]) -> float:
    """Return what they take together now, in units of 10^6 bytes."""
    total = 0
    for process in processes:
        with suppress(psutil.Error):
            used = process.memory_full_info()
            total += getattr(used, "pss", used.rss)
    return total / 1e6


class Peak:
    """The most that processes below this one took while the block ran: `with Peak(own) as peak`.

    Counted are those of `own` with all below them, and all that the block starts.
    """

    def __init__(self, own: Iterable[psutil.Process]) -> None:
        self.megabytes = 0.0
        self._others = descendants() - tree(own)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def _sample(self) -> None:
        while not self._ended.wait(INTERVAL):
            self.megabytes = max(self.megabytes, megabytes(descendants() - self._others))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
