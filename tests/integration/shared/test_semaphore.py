"""A semaphore over two connections keeps its limit; what a dead session held is free."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
import pytest
import structlog

from shared import semaphore as module
from shared.semaphore import Semaphore, family

GRAFANA = "http://grafana.example"

Make = Callable[..., Semaphore]


def play(database_url: str, story: Callable[[Make], Awaitable[None]]) -> None:
    """Tell a story in which each `make()` is a process with a connection of its own."""
    made: list[Semaphore] = []

    def make(**more: Any) -> Semaphore:
        options = {"name": GRAFANA, "limit": 3, "poll": 0.02} | more
        made.append(Semaphore(database_url, **options))
        return made[-1]

    async def run() -> None:
        try:
            await asyncio.wait_for(story(make), 60)
        finally:
            for one in made:
                await one.close()

    asyncio.run(run())


def held(database_url: str, name: str = GRAFANA) -> list[int]:
    """The process ids of the sessions that hold the name's places, one per place."""
    with psycopg.connect(database_url) as conn:
        rows = conn.execute(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND classid::int8 = %s::int8 & 4294967295",
            [family(name)],
        ).fetchall()
    return [row[0] for row in rows]


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Keep a process of the database from doing anything."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class Room:
    """Counts who is inside at once."""

    def __init__(self) -> None:
        self.inside = self.most = 0

    @asynccontextmanager
    async def visit(self, semaphore: Semaphore) -> AsyncIterator[None]:
        async with semaphore.place():
            self.inside += 1
            self.most = max(self.most, self.inside)
            yield
            self.inside -= 1


def test_two_processes_together_never_exceed_the_limit(database_url: str) -> None:
    room = Room()

    async def story(make: Make) -> None:
        first, second = make(term=0.05), make(term=0.05)

        async def visit(semaphore: Semaphore) -> None:
            async with room.visit(semaphore):
                # A real trip to the database is what a query is here.
                await asyncio.to_thread(held, database_url)

        await asyncio.gather(*(visit(one) for one in (first, second) for _ in range(40)))
        assert (room.inside, room.most) == (0, 3)
        await first.settle()
        await second.settle()
        assert held(database_url) == []

    play(database_url, story)


def test_two_grafanas_do_not_wait_for_each_other(database_url: str) -> None:
    async def story(make: Make) -> None:
        one, other = make(limit=1), make(limit=1, name="http://other.example")
        async with one.place(), other.place():
            assert len(held(database_url)) == len(held(database_url, "http://other.example")) == 1

    play(database_url, story)


def test_a_place_is_handed_on_in_the_process_without_the_database(database_url: str) -> None:
    async def story(make: Make) -> None:
        semaphore = make(limit=1, term=60)
        order: list[int] = []

        async def visit(number: int) -> None:
            async with semaphore.place():
                order.append(number)

        async with semaphore.place():
            (pid,) = held(database_url)
            visits = [asyncio.ensure_future(visit(number)) for number in range(5)]
            await asyncio.sleep(0)  # so that they stand in line
        with stopped(pid):
            await asyncio.gather(*visits)
        assert order == [0, 1, 2, 3, 4]
        await semaphore.settle()
        assert held(database_url) == []

    play(database_url, story)


def test_a_process_with_many_waiters_lets_the_others_have_their_turn(database_url: str) -> None:
    async def story(make: Make) -> None:
        greedy, modest = make(limit=1, term=0.1), make(limit=1, term=0.1)
        taken = 0
        stop = asyncio.Event()

        async def again_and_again() -> None:
            nonlocal taken
            while not stop.is_set():
                async with greedy.place():
                    taken += 1
                    await asyncio.sleep(0)

        crowd = [asyncio.ensure_future(again_and_again()) for _ in range(20)]
        for _ in range(5):
            async with asyncio.timeout(10), modest.place():
                pass
        stop.set()
        await asyncio.gather(*crowd)
        assert taken > 20

    play(database_url, story)


def test_a_session_that_is_killed_frees_its_places(database_url: str) -> None:
    async def story(make: Make) -> None:
        dying, living = make(limit=2), make(limit=2)
        async with dying.place(), dying.place():
            (pid, _) = held(database_url)
            waited_for = living.place()
            waiting = asyncio.ensure_future(waited_for.__aenter__())
            with psycopg.connect(database_url, autocommit=True) as conn:
                conn.execute("SELECT pg_terminate_backend(%s)", [pid])
            await waiting
            (other,) = held(database_url)
            assert other != pid
        # What the dead session's holders give back now is not the living one's.
        await dying.settle()
        assert held(database_url) == [other]
        await waited_for.__aexit__(None, None, None)

    play(database_url, story)


def test_after_its_session_was_killed_a_process_connects_anew(database_url: str) -> None:
    async def story(make: Make) -> None:
        semaphore = make()
        async with semaphore.place():
            (pid,) = held(database_url)
        await semaphore.settle()
        with psycopg.connect(database_url, autocommit=True) as conn:
            conn.execute("SELECT pg_terminate_backend(%s)", [pid])
        async with semaphore.place():
            (other,) = held(database_url)
        assert other != pid

    play(database_url, story)


def test_who_is_cancelled_while_waiting_leaves_no_place_behind(database_url: str) -> None:
    async def story(make: Make) -> None:
        semaphore = make(limit=1)
        async with semaphore.place():
            waiting = [asyncio.ensure_future(semaphore.place().__aenter__()) for _ in range(5)]
            await asyncio.sleep(0)
            for one in waiting:
                one.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        await semaphore.settle()
        assert held(database_url) == []

    play(database_url, story)


def test_who_is_cancelled_in_the_moment_its_place_comes_gives_it_back(database_url: str) -> None:
    async def story(make: Make) -> None:
        semaphore = make(limit=1, term=60)
        async with semaphore.place():
            waiting = asyncio.ensure_future(semaphore.place().__aenter__())
            await asyncio.sleep(0)
        waiting.cancel()  # the place was handed on, and the waiter has not run since
        await asyncio.gather(waiting, return_exceptions=True)
        await semaphore.settle()
        assert held(database_url) == []

    play(database_url, story)


def test_without_a_database_nobody_waits_and_one_warning_says_so(database_url: str) -> None:
    away = "postgresql://broadsheet@127.0.0.1:1/broadsheet"

    async def story(_make: Make) -> None:
        semaphore = Semaphore(away, name=GRAFANA, limit=1)
        async with semaphore.place(), semaphore.place(), semaphore.place():
            pass
        await semaphore.settle()
        await semaphore.close()

    with structlog.testing.capture_logs() as logged:
        play(database_url, story)
    (warning,) = logged
    assert (warning["event"], warning["log_level"]) == ("semaphore.away", "warning")


def test_a_database_that_hangs_is_not_waited_for(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.2)

    async def story(make: Make) -> None:
        semaphore = make()
        async with semaphore.place():
            (pid,) = held(database_url)
        await semaphore.settle()
        with stopped(pid):
            async with asyncio.timeout(3), semaphore.place():
                pass

    with structlog.testing.capture_logs() as logged:
        play(database_url, story)
    assert [entry["event"] for entry in logged] == ["semaphore.away"]
