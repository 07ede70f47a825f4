"""Keeping: what is no longer kept is deleted, and what is kept is counted, beside the ticks.

In a thread of its own: deleting much, or a store that does not answer, must not hold up a slot.
Any number of beats may do so at once.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading
from dataclasses import dataclass, field

from shared import audit, db, log, retention
from shared.db import Pool
from shared.errors import DatabaseAway
from shared.retention import Place
from shared.settings import Settings
from shared.storage import BATCH, Storage
from shared.store import StoreAway

logger = log.get(__name__)

#: Seconds between two looks, and where there is more to delete than a batch.
EVERY, HURRY = 60.0, 2.0


@dataclass(slots=True)
class Memory:
    """What one beat remembers from step to step; nothing is lost with it."""

    place: Place = field(default_factory=Place)
    #: Whether the store of documents did not answer the last time.
    store_away: bool = False


def step(pool: Pool, settings: Settings, storage: Storage, memory: Memory) -> float:
    """Delete a batch of each thing that is no longer kept; return the seconds until more of it.

    Raises `DatabaseAway`.
    """
    hurried = _retain(pool, settings, memory.place)
    with db.transaction(pool) as conn:
        retention.count_if_due(conn)
    hurried |= _clear(pool, storage, memory)
    return HURRY if hurried else EVERY


def _retain(pool: Pool, settings: Settings, place: Place) -> bool:
    """Delete a batch of documents, runs and records of the audit; return whether there is more."""
    before = dataclasses.astuple(place)
    documents = surplus = 0
    if settings.document_days:
        with db.transaction(pool) as conn:
            older = dt.timedelta(days=settings.document_days)
            documents = retention.drop_old_documents(conn, older, place)
    if settings.storage_mb:
        with db.transaction(pool) as conn:
            surplus = retention.drop_surplus(conn, settings.storage_mb * 1024 * 1024, place)
    with db.transaction(pool) as conn:
        runs = retention.forget_runs(
            conn,
            dt.timedelta(days=settings.run_days) if settings.run_days else None,
            most=settings.run_rows,
            place=place,
        )
    with db.transaction(pool) as conn:
        records = audit.forget(
            conn,
            older_than=dt.timedelta(days=settings.audit_days),
            up_to=retention.beyond(conn, "audit", settings.audit_rows),
        )
    if documents or surplus or runs:
        logger.info("retention.dropped", documents=documents + surplus, runs=runs)
    full = max(documents, surplus, runs) >= retention.BATCH or records >= audit.BATCH
    # Behind what is old and has to stay there may be more.
    return full or any(
        now > then for now, then in zip(dataclasses.astuple(place), before, strict=True)
    )


def _clear(pool: Pool, storage: Storage, memory: Memory) -> bool:
    """Delete a batch of objects that no document has; return whether there is more."""
    try:
        deleted = storage.clear(pool)
    except StoreAway as exc:
        if not memory.store_away:
            logger.warning("store.away", error=exc.message)
        memory.store_away = True
        return False
    memory.store_away = False
    if deleted:
        logger.info("store.cleared", objects=deleted)
    return deleted >= BATCH


class Keeping:
    """Steps until it is closed, in a thread."""

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        self._storage = Storage.from_settings(settings)
        self._memory = Memory()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="keeping", daemon=True)

    def start(self) -> None:
        """Begin to."""
        self._thread.start()

    def close(self) -> None:
        """Do not begin another step. One under way ends with the process: all of it is safe to."""
        self._ended.set()

    def _keep(self) -> None:
        wait = 0.0
        while not self._ended.wait(wait):
            try:
                wait = step(self._pool, self._settings, self._storage, self._memory)
            except DatabaseAway as exc:
                wait = EVERY
                # Its pool is closed when beat ends.
                if not self._ended.is_set():
                    logger.warning("keeping.database_away", error=exc.message)
            except Exception:
                wait = EVERY
                if not self._ended.is_set():
                    logger.exception("keeping.broke")
