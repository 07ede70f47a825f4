"""Places for connections: as many as there may be, and none held by the dead."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from shared.mail_place import MailPlace

Make = Callable[[], MailPlace]

HOLDER = """
import sys, time
from shared.mail_place import MailPlace
place = MailPlace(sys.argv[1], name="mail:25", limit=2)
assert place.take(5)
print("has it", flush=True)
time.sleep(60)
"""


@pytest.fixture
def make(database_url: str) -> Iterator[Make]:
    made: list[MailPlace] = []

    def make() -> MailPlace:
        made.append(MailPlace(database_url, name="mail:25", limit=2))
        return made[-1]

    yield make
    for place in made:
        place.close()


def test_there_are_so_many_places_and_one_given_back_is_another_ones(make: Make) -> None:
    first, second, third = make(), make(), make()
    assert first.take(0)
    assert second.take(0)
    assert not third.take(0)
    first.give_back()
    assert third.take(0)
    assert not first.take(0)


def test_who_has_a_place_does_not_take_a_second_one(make: Make) -> None:
    first, second = make(), make()
    assert first.take(0)
    assert first.take(0)
    assert second.take(0)


def test_who_waits_gets_it_when_it_is_given_back(make: Make) -> None:
    holders, waiter = [make(), make()], make()
    assert all(holder.take(0) for holder in holders)
    begun = time.monotonic()
    assert not waiter.take(0.2)
    assert 0.2 <= time.monotonic() - begun < 1
    holders[0].close()
    assert waiter.take(1)


def test_another_servers_places_are_its_own(make: Make, database_url: str) -> None:
    assert make().take(0)
    assert make().take(0)
    other = MailPlace(database_url, name="mail:465", limit=2)
    assert other.take(0)
    other.close()


def test_a_process_that_is_killed_holds_nothing(
    make: Make, database_url: str, checkout: object
) -> None:
    killed = [
        subprocess.Popen(
            [sys.executable, "-c", HOLDER, database_url],
            cwd=str(checkout),
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        for process in killed:
            assert process.stdout and process.stdout.readline() == "has it\n"
        assert not make().take(0)
    finally:
        for process in killed:
            process.kill()
            process.communicate()
    assert make().take(5)


def test_a_session_that_was_ended_has_lost_its_place_and_knows(
    make: Make, database_url: str
) -> None:
    place = make()
    assert place.take(0)
    assert place.held()
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'broadsheet-mail-place' "
            "AND datname = current_database()"
        )
    assert not place.held()
    place.give_back()
    assert place.take(1)
    assert place.held()
