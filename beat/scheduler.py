"""How Celery calls us: `celery -A beat.app beat -S beat.scheduler:ReportScheduler`."""

from __future__ import annotations

import time
from typing import Any

import psycopg
from celery.beat import Scheduler

from beat.keeping import Keeping
from beat.tick import LONGEST_SLEEP, Memory, run_tick
from shared import alive, db, log, meters, presence, reports, traces
from shared.db import Connection, Pool
from shared.errors import DatabaseAway, NotMigrated
from shared.presence import Presence
from shared.queue import Bell
from shared.settings import Settings

logger = log.get(__name__)


class ReportScheduler(Scheduler):  # type: ignore[misc]  # Celery has no annotations
    """Ticks; and between ticks waits for the next slot or for the API's word of an edit.

    Celery's own entries are not used: they would fire in every beat. Nothing raised here may
    reach Celery, which would end the process.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._pool: Pool | None = None
        self._listener: Connection | None = None
        self._memory = Memory()
        self._presence: Presence | None = None
        self._keeping: Keeping | None = None
        #: In seconds since 1970; 0: not yet.
        self._ticked_at = 0.0
        super().__init__(*args, **kwargs)

    @property
    def settings(self) -> Settings:
        """The settings that `beat.app` put on the Celery app."""
        settings: Settings = self.app.settings
        return settings

    def setup_schedule(self) -> None:
        """Have no entries: the schedule is in the database."""

    def tick(self, *_: Any, **__: Any) -> float:
        """Do one tick and wait; return 0, since the waiting is done."""
        alive.touch(self.settings)
        try:
            pool = self._pool or self._open()
            began = time.monotonic()
            seconds = run_tick(pool, Bell(self.app), self.settings, self._memory)
            self._ticked_at = time.time()
            meters.observe("beat_tick_seconds", time.monotonic() - began)
            self._wait(seconds)
        except (DatabaseAway, NotMigrated) as exc:
            logger.error("beat.database_away", error=exc.message)  # noqa: TRY400 - a traceback says nothing here
            time.sleep(LONGEST_SLEEP)
        except Exception:
            logger.exception("beat.tick_broke")
            time.sleep(LONGEST_SLEEP)
        return 0

    def close(self) -> None:
        """Close what is open; Celery may call this twice."""
        if self._presence:
            self._presence.close()
        if self._keeping:
            self._keeping.close()
        if self._listener:
            self._listener.close()
        if self._pool:
            self._pool.close()
        self._listener = self._pool = self._presence = self._keeping = None
        traces.end()
        super().close()

    def _open(self) -> Pool:
        pool = db.open_pool(
            self.settings.database_url,
            pooled=self.settings.is_pooled,
            max_size=2,
            application="broadsheet-beat",
        )
        traces.begin(self.settings, "beat")
        meters.begin(meters.BEAT)
        meters.serve_if_wanted(self.settings)
        self._presence = Presence(
            self.settings.session_url,
            presence.this(presence.BEAT),
            detail=lambda: {"ticked_at": self._ticked_at},
        )
        self._presence.start()
        self._keeping = Keeping(pool, self.settings)
        self._keeping.start()
        # Last: where something of it fails, the next tick begins with all of it again.
        self._pool = pool
        return pool

    def _wait(self, seconds: float) -> None:
        """Sleep, unless an edit moves the earliest slot."""
        try:
            if self._listener is None or self._listener.closed:
                self._listener = db.connect(
                    self.settings.session_url, autocommit=True, application="broadsheet-beat"
                )
                self._listener.execute(f"LISTEN {reports.CHANGED}")
            for _ in self._listener.notifies(timeout=seconds, stop_after=1):
                pass
        except psycopg.Error as exc:
            self._listener = None
            raise DatabaseAway(str(exc)) from exc

    @property
    def info(self) -> str:
        """What Celery prints when beat starts."""
        return "    . schedule -> reports in Postgres"
