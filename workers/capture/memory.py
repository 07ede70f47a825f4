"""How much memory the browser of this process holds."""

from __future__ import annotations

import os

import psutil


def of_children() -> int:
    """Return the bytes that all processes below this one have for themselves.

    What they share (programs, fonts, the parts that Chromium's processes inherit) is left out: it
    is there once, however many there are.
    """
    total = 0
    for child in psutil.Process(os.getpid()).children(recursive=True):
        try:
            memory = child.memory_info()
        except psutil.Error:
            # It ended meanwhile.
            continue
        total += max(memory.rss - getattr(memory, "shared", 0), 0)
    return total
