"""The processes of a browser: how much memory they hold, and an end for those that hang."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

import psutil
from psutil import Process


def children() -> set[Process]:
    """Return the processes that this one started."""
    return set(Process(os.getpid()).children())


def held(roots: Iterable[Process]) -> int:
    """Return the bytes that these processes and all below them have for themselves.

    What they share (programs, fonts, the parts that Chromium's processes inherit) is left out: it
    is there once, however many there are.
    """
    total = 0
    for process in _trees(roots):
        # One that ended meanwhile holds nothing.
        with contextlib.suppress(psutil.Error):
            memory = process.memory_info()
            total += max(memory.rss - getattr(memory, "shared", 0), 0)
    return total


def own() -> int:
    """Return the bytes that this process has in memory."""
    return int(Process(os.getpid()).memory_info().rss)


def end(roots: Iterable[Process]) -> None:
    """Kill these processes and all below them: those first, who else would get lost."""
    for process in reversed(_trees(roots)):
        with contextlib.suppress(psutil.Error):
            process.kill()


def end_largest(roots: Iterable[Process]) -> None:
    """Kill the one of these processes and all below them that holds most."""
    sizes: list[tuple[int, Process]] = []
    for process in _trees(roots):
        with contextlib.suppress(psutil.Error):
            sizes.append((process.memory_info().rss, process))
    with contextlib.suppress(psutil.Error, ValueError):
        max(sizes, key=lambda size: size[0])[1].kill()


def _trees(roots: Iterable[Process]) -> list[Process]:
    found: list[Process] = []
    for root in roots:
        with contextlib.suppress(psutil.Error):
            found += [root, *root.children(recursive=True)]
    return found
