"""Being alive: a file whose age tells an orchestrator whether a process still goes round.

It depends on no broker and no database: restarting a process does not bring those back.
"""

from __future__ import annotations

from pathlib import Path

from shared import log
from shared.settings import Settings

logger = log.get(__name__)

#: Seconds between two touches; older than a few of these, the process hangs.
EVERY = 5.0


def touch(settings: Settings) -> None:
    """Touch the file, if there is to be one. What cannot be written is one line in the log."""
    if not settings.alive_file:
        return
    try:
        Path(settings.alive_file).touch()
    except OSError as exc:
        logger.error("alive.not_told", file=settings.alive_file, error=str(exc))  # noqa: TRY400 - a traceback says nothing here
