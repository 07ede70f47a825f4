"""The rules by which mailers leave a server alone, without a database."""

from __future__ import annotations

import datetime as dt
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.mail_server import (
    FAILURES,
    FIRST,
    LONGEST,
    PATIENCE,
    PROBE,
    QUIET,
    THROTTLED,
    MailServer,
    name_of,
)
from shared.settings import Settings

NOW = dt.datetime(2026, 1, 5, 8, tzinfo=dt.UTC)
WELL = MailServer(name="mail:25")


def at(seconds: float) -> dt.datetime:
    return NOW + dt.timedelta(seconds=seconds)


def away(failures: int = FAILURES) -> MailServer:
    server = WELL
    for _ in range(failures):
        server = server.failed(NOW, "Connection refused", configuration=False)
    return server


def test_a_server_is_known_by_its_address_however_that_is_written() -> None:
    assert name_of(Settings(smtp_host="Mail.Example.org", smtp_port=587)) == "mail.example.org:587"


def test_four_failures_in_a_row_stop_nobody_and_a_success_starts_the_count_anew() -> None:
    server = away(FAILURES - 1)
    assert server.turn(NOW, 0)[1].go
    assert server.answered() == WELL
    assert server.answered().failed(NOW, "x", configuration=False).turn(NOW, 0)[1].go


def test_after_the_fifth_nobody_connects_for_a_minute() -> None:
    server = away()
    assert server.condition(NOW) == "open"
    for seconds in (0, 30, FIRST - 0.001):
        after, turn = server.turn(at(seconds), 0)
        assert after == server
        assert not turn.go
        assert turn.wait == pytest.approx(FIRST - seconds)
        assert turn.cause == "Connection refused"


def test_then_one_probes_while_the_others_wait_a_little() -> None:
    probing, turn = away().turn(at(FIRST), 0)
    assert turn.go
    assert probing.condition(at(FIRST)) == "probing"
    after, other = probing.turn(at(FIRST + 1), 0)
    assert after == probing
    assert not other.go
    assert 0 < other.wait < FIRST


def test_a_prober_that_died_does_not_keep_the_next_one_for_ever() -> None:
    probing, _ = away().turn(at(FIRST), 0)
    assert not probing.turn(at(FIRST + PROBE - 1), 0)[1].go
    assert probing.turn(at(FIRST + PROBE), 0)[1].go


def test_a_probe_that_succeeds_lets_everybody_through_at_once() -> None:
    probing, _ = away().turn(at(FIRST), 0)
    assert probing.took(at(FIRST + 1)) == WELL


def test_each_probe_that_fails_doubles_the_wait_up_to_ten_minutes() -> None:
    server, now, waits = away(), NOW, []
    for _ in range(6):
        assert server.open_until
        waits.append((server.open_until - now).total_seconds())
        now = server.open_until
        server, turn = server.turn(now, 0)
        assert turn.go
        server = server.failed(now, "still", configuration=False)
    assert waits == [60, 120, 240, 480, LONGEST, LONGEST]


def test_who_had_begun_before_it_opened_does_not_open_it_longer() -> None:
    server = away()
    late = server.failed(at(10), "late", configuration=False)
    assert (late.open_until, late.openings) == (server.open_until, server.openings)


def test_a_server_that_asks_for_fewer_mails_is_left_alone_a_little_longer_each_time() -> None:
    server, now, waits = WELL, NOW, []
    for _ in range(8):
        server = server.throttled(now)
        assert server.quiet_until
        waits.append((server.quiet_until - now).total_seconds())
        after, turn = server.turn(now, 0)
        assert (after, turn.go, turn.cause) == (server, False, THROTTLED)
        now = server.quiet_until
        assert server.turn(now, 0)[1].go
    assert waits == [QUIET, 30, 60, 120, 240, 480, LONGEST, LONGEST]


def test_mails_that_were_under_way_then_neither_lengthen_nor_end_that() -> None:
    server = WELL.throttled(NOW)
    assert server.throttled(at(1)) == server
    assert server.took(at(1)) == server
    assert server.took(at(QUIET)) == WELL


def test_a_server_that_throttles_is_not_away() -> None:
    assert away(FAILURES - 1).throttled(NOW).failures == 0


def test_mails_keep_the_pace_and_a_mailer_holds_its_slot_for_a_second_at_most() -> None:
    server, waits = WELL, []
    for _ in range(4):
        server, turn = server.turn(NOW, 2.0)
        waits.append((turn.go, turn.wait))
    assert waits == [(True, 0.0), (True, 0.5), (True, 1.0), (False, 1.5)]


def test_what_is_not_used_of_the_pace_is_not_saved_up() -> None:
    server, _ = WELL.turn(NOW, 2.0)
    server, first = server.turn(at(3600), 2.0)
    _, second = server.turn(at(3600), 2.0)
    assert (first.wait, second.wait) == (0.0, 0.5)


@given(
    st.floats(0.01, 1000),
    st.lists(st.floats(0, 2), min_size=1, max_size=60),
)
def test_no_two_mails_are_closer_than_the_rate_allows(rate: float, pauses: list[float]) -> None:
    server, now, sent = WELL, NOW, []
    for pause in pauses:
        now += dt.timedelta(seconds=pause)
        server, turn = server.turn(now, rate)
        if turn.go:
            assert turn.wait <= PATIENCE
            sent.append((now - NOW).total_seconds() + turn.wait)
    for earlier, later in itertools.pairwise(sent):
        assert later - earlier >= 1 / rate - 1e-4


def test_an_operator_reads_why_mails_wait() -> None:
    assert WELL.told(NOW) == ""
    assert away().told(NOW) == (
        "Mails wait, because 5 connections in a row failed; it is tried again at 08:01:00 UTC. "
        "The last one: Connection refused"
    )
    assert "08:00:15 UTC" in WELL.throttled(NOW).told(NOW)
