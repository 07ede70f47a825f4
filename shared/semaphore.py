"""A counting semaphore across processes and machines that share nothing but a database.

A place is a session-level advisory lock of Postgres. The server gives it back when the session
ends, so that a process that is killed keeps none. There is no row to write, to expire or to sweep.

One task, the porter, does all that is asked of the database, and only while somebody waits or
something is to be given back; so one connection does, and whoever is cancelled interrupts no
statement. A statement that was interrupted all the same leaves unknown what is held: then the
connection is closed, which gives everything back.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import psycopg

from shared import db, log
from shared.errors import DatabaseAway

logger = log.get(__name__)

#: The longest pause between two looks for a free place; half of it is the shortest, so that
#: processes do not look in step.
POLL = 0.1
#: How long a place may go from one waiter of this process to the next. After that it is given
#: back, and this process does not look again before all others have.
TERM = 2.0
#: A process that holds places looks for more of them less often than others, by this at most.
LEAST_EAGER = 5
#: What the database has for one answer, and how long it is done without when it gives none.
PATIENCE = 5.0
AWAY = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """One of the numbered places, taken in a session of the database at a moment of the loop."""

    number: int
    since: float
    session: db.AsyncConnection


class Semaphore:
    """At most `limit` hold a place of this name at once, over all who share the database.

    Belongs to one event loop. All processes should have the same limit; where they differ, the
    largest holds.
    """

    def __init__(
        self, database_url: str, *, name: str, limit: int, poll: float = POLL, term: float = TERM
    ) -> None:
        self._database_url = database_url
        self._family = family(name)
        self._limit = limit
        self._poll = poll
        self._term = term
        self._session: db.AsyncConnection | None = None
        self._held: set[int] = set()
        self._waiting: deque[asyncio.Future[_Place | None]] = deque()
        self._back: list[_Place] = []
        self._news = asyncio.Event()
        self._porter: asyncio.Task[None] | None = None
        self._others_first = 0.0
        self._away_until = 0.0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place, and keep it while inside.

        Does not raise if the database is away: then nobody waits. Reports that are under way
        shall not fail for it, and whoever uses this has a cap of its own that still holds.
        """
        place = await self._taken()
        try:
            yield
        finally:
            self._return(place)

    async def settle(self) -> None:
        """Wait until everything is given back. To be called before the loop stands still."""
        if self._porter and not self._porter.done():
            await asyncio.wait([self._porter], timeout=2 * PATIENCE)

    async def close(self) -> None:
        """Give everything back at once by closing the connection; the next use opens one."""
        if self._porter and not self._porter.done():
            self._porter.cancel()
            await asyncio.wait([self._porter])
        await self._hang_up()

    async def _taken(self) -> _Place | None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._away_until:
            return None
        turn: asyncio.Future[_Place | None] = loop.create_future()
        self._waiting.append(turn)
        self._call_porter()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._return(turn.result())  # it came at this very moment
            raise

    def _return(self, place: _Place | None) -> None:
        # Places of a session that was lost are free already, and may be others'.
        if place is None or place.session is not self._session:
            return
        fresh = asyncio.get_running_loop().time() - place.since < self._term
        if not (fresh and self._lend(place)):
            self._back.append(place)
            self._news.set()
            self._call_porter()

    def _lend(self, place: _Place | None) -> bool:
        """Give it to the one who has waited longest; False if nobody waits."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(place)
                return True
        return False

    def _call_porter(self) -> None:
        if self._porter is None or self._porter.done():
            self._porter = asyncio.get_running_loop().create_task(self._serve())

    async def _serve(self) -> None:
        """Give back and take until nobody waits; when the database is away, let all through."""
        while self._wanted() or self._back:
            self._news.clear()
            connected = self._session is not None
            work = asyncio.ensure_future(self._exchange())
            try:
                await asyncio.wait_for(asyncio.shield(work), PATIENCE)
            except TimeoutError:
                # Before it is cancelled, which takes as long again if nobody answers.
                self._do_without(f"no answer within {PATIENCE:g} s")
                await _cancelled(work)
                await self._hang_up()
            except (DatabaseAway, psycopg.Error, OSError) as exc:
                await self._hang_up()
                if connected:
                    # Cut while it was idle, perhaps, or the server was started anew: once more.
                    # What was held is free for others while its holders are still busy.
                    continue
                self._do_without(str(exc))
            except asyncio.CancelledError:
                await _cancelled(work)
                raise
            if self._wanted() and not self._back:
                await self._rest()

    async def _exchange(self) -> None:
        loop = asyncio.get_running_loop()
        if self._session is None:
            self._session = await db.connect_async(
                self._database_url, application="broadsheet-semaphore"
            )
        back, self._back = self._back, []
        if numbers := [place.number for place in back if place.session is self._session]:
            await self._session.execute(
                "SELECT pg_advisory_unlock(%s, n) FROM unnest(%s::int[]) AS n",
                [self._family, numbers],
            )
            self._held.difference_update(numbers)
            self._others_first = loop.time() + 1.5 * self._poll
        wanted = self._wanted()
        # Of those held here none may be tried: a session gets its own lock a second time.
        free = [number for number in range(1, self._limit + 1) if number not in self._held]
        if not wanted or not free or loop.time() < self._others_first:
            return
        taken = await self._session.execute(
            "SELECT n FROM unnest(%s::int[]) AS n WHERE pg_try_advisory_lock(%s, n) LIMIT %s",
            [free, self._family, wanted],
        )
        for (number,) in await taken.fetchall():
            self._held.add(number)
            place = _Place(number, loop.time(), self._session)
            if not self._lend(place):
                self._back.append(place)

    def _wanted(self) -> int:
        return sum(not turn.done() for turn in self._waiting)

    async def _rest(self) -> None:
        """Wait a little, or until something is to be given back.

        Who has much looks less often than who has nothing, or it would get ever more. For the
        same reason a further waiter wakes nobody.
        """
        shortest = self._poll / 2 * min(1 + len(self._held), LEAST_EAGER)
        pause = random.uniform(shortest, 2 * shortest)  # noqa: S311 - it may be guessed
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), pause)

    def _do_without(self, reason: str) -> None:
        logger.warning(
            "semaphore.away",
            error=reason.strip().partition("\n")[0],
            consequence="queries are capped per capture only, for now",
        )
        self._away_until = asyncio.get_running_loop().time() + AWAY
        while self._lend(None):
            pass

    async def _hang_up(self) -> None:
        session, self._session = self._session, None
        self._held.clear()
        self._back.clear()
        if session:
            await session.close()


async def _cancelled(work: asyncio.Future[None]) -> None:
    work.cancel()
    await asyncio.wait([work])


def family(name: str) -> int:
    """Return the number that all processes know the name's locks by: four bytes, with a sign."""
    digest = hashlib.blake2b(name.encode(), digest_size=4).digest()
    return int.from_bytes(digest, signed=True)
