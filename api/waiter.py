"""Waiting for the end of a run, for many requests at once, on one connection.

A thread listens for `broadsheet_run_finished` and sets the event of whoever waits for that run.
A notification can be lost (a reconnect, a failover), so the thread also reads the state of all
awaited runs every two seconds. The waiting requests themselves hold no connection.
"""

from __future__ import annotations

import math
import random
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from shared import db, log, runs
from shared.errors import BroadsheetError, DatabaseAway

POLL = 2.0
BACKOFF = 0.5
LONGEST_BACKOFF = 10.0

logger = log.get(__name__)


class NoSlot(BroadsheetError):
    """Too many callers wait for a report already; try again soon, or send Prefer: respond-async."""


class Slot:
    """The right of one request to wait for one run."""

    def __init__(self, waiter: Waiter) -> None:
        self._waiter = waiter
        self._event = threading.Event()
        self.run_id: int | None = None

    def expect(self, run_id: int) -> None:
        """Say which run to wait for; to be called before anybody is told to begin it."""
        self.run_id = run_id
        self._waiter.watch(run_id, self._event)

    def wait(self, timeout: float) -> bool:
        """Return True as soon as the run has ended, or False after `timeout` seconds."""
        return self._event.wait(timeout)

    def forget(self) -> None:
        """Stop watching."""
        if self.run_id is not None:
            self._waiter.unwatch(self.run_id, self._event)


class Waiter:
    """One thread, one LISTEN connection, and an event for each request that waits.

    `start` must be called in the process that waits: neither thread nor connection survives a
    fork.
    """

    def __init__(self, database_url: str, *, slots: int, poll: float = POLL) -> None:
        self._url = database_url
        self._poll = poll
        self._slots = threading.BoundedSemaphore(slots)
        self._events: dict[int, set[threading.Event]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        # Readable once the waiter is closed, so that the thread need not look every so often.
        self._stopped, self._closing = socket.socketpair()
        self._thread: threading.Thread | None = None
        #: Set while the connection listens; for tests and for the readiness of the process.
        self.listening = threading.Event()

    def start(self) -> None:
        """Begin to listen, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="waiter", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening, and let every request that waits find out for itself."""
        self._stop.set()
        self._closing.close()
        with self._lock:
            waited_for = set(self._events)
        self._release(waited_for)
        if self._thread is not None:
            self._thread.join(timeout=5)
        self._stopped.close()

    @contextmanager
    def slot(self) -> Iterator[Slot]:
        """Yield a slot; raise `NoSlot` at once when all are taken."""
        if not self._slots.acquire(blocking=False):
            raise NoSlot
        slot = Slot(self)
        try:
            yield slot
        finally:
            slot.forget()
            self._slots.release()

    def watch(self, run_id: int, event: threading.Event) -> None:
        """Set `event` when the run ends."""
        with self._lock:
            self._events.setdefault(run_id, set()).add(event)

    def unwatch(self, run_id: int, event: threading.Event) -> None:
        """Forget about `event`."""
        with self._lock:
            waiting = self._events.get(run_id, set())
            waiting.discard(event)
            if not waiting:
                self._events.pop(run_id, None)

    def _run(self) -> None:
        pause = BACKOFF
        while not self._stop.is_set():
            try:
                with db.connect(self._url, autocommit=True, application="broadsheet-wait") as conn:
                    conn.execute(f"LISTEN {runs.FINISHED}")
                    pause = BACKOFF
                    self._listen(conn)
            except DatabaseAway as exc:
                logger.warning("waiter.away", error=exc.message, again_in=pause)
            except Exception:
                # Whatever it is, requests must not wait for a thread that is gone.
                logger.exception("waiter.failed", again_in=pause)
            finally:
                self.listening.clear()
            # Spread, so that many API processes do not return to a restarted database as one.
            self._stop.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            pause = min(pause * 2, LONGEST_BACKOFF)

    def _listen(self, conn: db.Connection) -> None:
        """Release those whose run ends, until the connection breaks or the process stops."""
        swept = -math.inf
        with db.translated(), selectors.DefaultSelector() as ready:
            ready.register(conn.fileno(), selectors.EVENT_READ)
            ready.register(self._stopped, selectors.EVENT_READ)
            while not self._stop.is_set():
                if time.monotonic() - swept >= self._poll:
                    self._release(self._ended(conn))
                    swept = time.monotonic()
                    self.listening.set()
                # After the query, which may have read notifications off the socket.
                for notification in conn.notifies(timeout=0):
                    self._release({int(notification.payload)})
                ready.select(timeout=self._poll)

    def _ended(self, conn: db.Connection) -> set[int]:
        """Return those of the awaited runs that have ended or are gone."""
        with self._lock:
            awaited = set(self._events)
        if not awaited:
            return set()
        rows = conn.execute(
            "SELECT id FROM run WHERE id = ANY(%s) AND finished_at IS NULL", [list(awaited)]
        )
        return awaited - {row["id"] for row in rows}

    def _release(self, run_ids: set[int]) -> None:
        with self._lock:
            for run_id in run_ids:
                for event in self._events.get(run_id, ()):
                    event.set()
