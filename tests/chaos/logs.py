"""What the processes' logs tell of faults that nobody made."""

from __future__ import annotations

import re
from pathlib import Path

#: Lines that say that something broke which the code did not expect.
BROKE = ("beat.tick_broke", "task.broke", "api.crashed", "report.uncomputable", "report.unreadable")
#: What a database or a broker that is away looks like. Those are taken away here.
AWAY = re.compile(
    r"DatabaseAway|psycopg\.(errors\.)?\w+|psycopg_pool|redis\.exceptions|kombu\.exceptions"
    r"|ConnectionRefusedError|ConnectionResetError|BrokenPipeError"
)
#: A line of the log begins with its time; others belong to the one before.
BEGINS = re.compile(r"^(\[?\d{4}-\d\d-\d\d[T ])")


def broken(folder: Path) -> list[str]:
    """Return what broke in any process and is not explained by the ground going away."""
    return [
        f"{path.name}: {_short(entry)}"
        for path in sorted(folder.glob("*.log"))
        for entry in _entries(path.read_text(encoding="utf-8", errors="replace"))
        if any(name in entry.partition("\n")[0] for name in BROKE) and not AWAY.search(entry)
    ]


def _entries(text: str) -> list[str]:
    """Return the lines of a log, each with the traceback that follows it."""
    entries: list[list[str]] = []
    for line in text.splitlines():
        if BEGINS.match(line) or not entries:
            entries.append([line])
        else:
            entries[-1].append(line)
    return ["\n".join(lines) for lines in entries]


def _short(entry: str) -> str:
    first, *rest = entry.splitlines()
    return f"{first} … {rest[-1]}" if rest else first
