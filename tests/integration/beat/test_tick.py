"""One tick of beat on a real database. Slots are set in the past instead of waiting for them."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable

import pytest
import structlog

from beat import claim, sweep, tick
from beat.sweep import Chores
from beat.tick import Memory
from shared import admission, db, reports, restores, runs, tasks
from shared.reports import Report
from shared.schedule import Schedule
from shared.settings import Settings
from shared.spec import DashboardSpec, RunSpec
from tests.fakes import RecordingBell

DAY = dt.timedelta(days=1)

Make = Callable[..., int]


@pytest.fixture
def make(pool: db.Pool) -> Make:
    """Stores a report that is due since `ago`; returns its id."""

    def make(ago: dt.timedelta = dt.timedelta(seconds=1), **changes: object) -> int:
        with db.transaction(pool) as conn:
            now = db.clock(conn)
            due = now - ago
            rule = changes.pop("schedule", None) or Schedule(
                frequency="daily", time_zone="UTC", start=due
            )
            report = Report(
                uid=f"u{changes.get('name', '')}",
                org_id=1,
                user_id=1,
                **{"name": "r", "recipients": ["a@example.com"], **changes},
                schedule=rule,
                dashboards=[{"dashboard": {"uid": "a"}}, {"dashboard": {"uid": "b"}}],
                created=now,
                updated=now,
                next_run_at=due,
            )
            return reports.insert(conn, report)

    return make


def report_of(pool: db.Pool, report_id: int) -> Report:
    with db.transaction(pool) as conn:
        report = reports.get(conn, 1, report_id)
    assert report
    return report


def runs_of(pool: db.Pool, report_id: int) -> list[runs.Run]:
    with db.transaction(pool) as conn:
        return runs.find(conn, 1, report_id, limit=500)


def test_a_due_report_becomes_a_run_and_its_next_slot_moves_on(
    pool: db.Pool, settings: Settings, make: Make
) -> None:
    bell = RecordingBell()
    report_id = make()
    due = report_of(pool, report_id).next_run_at
    assert due
    tick.run_tick(pool, bell, settings, Memory())
    [run] = runs_of(pool, report_id)
    assert run.state == "queued"
    assert run.scheduled_for == due
    assert report_of(pool, report_id).next_run_at == due + DAY
    assert [ring.kind for ring in bell.rings] == ["render", "render"]


def test_a_second_tick_finds_nothing_to_do(pool: db.Pool, settings: Settings, make: Make) -> None:
    bell = RecordingBell()
    report_id = make()
    tick.run_tick(pool, bell, settings, Memory())
    tick.run_tick(pool, bell, settings, Memory())
    assert len(runs_of(pool, report_id)) == 1
    assert len(bell.rings) == 2


def test_beats_that_tick_at_once_share_the_reports_and_double_none(
    pool: db.Pool, settings: Settings, make: Make, database_url: str
) -> None:
    made = [make(name=str(number)) for number in range(20)]
    bells = [RecordingBell() for _ in range(4)]
    pools = [db.open_pool(database_url, max_size=2, application="beat") for _ in bells]
    start = threading.Barrier(len(bells))

    def beat(number: int) -> None:
        start.wait()
        for _ in range(5):
            tick.run_tick(pools[number], bells[number], settings, Memory())

    threads = [threading.Thread(target=beat, args=[number]) for number in range(len(bells))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for opened in pools:
        opened.close()
    assert all(len(runs_of(pool, report_id)) == 1 for report_id in made)
    rung = [ring.task_id for bell in bells for ring in bell.rings]
    assert len(rung) == len(set(rung)) == 40


def test_a_run_whose_ring_went_unheard_is_rung_for_by_the_next_tick(
    pool: db.Pool, settings: Settings, make: Make
) -> None:
    bell = RecordingBell()
    bell.away = True
    make()
    tick.run_tick(pool, bell, settings, Memory())
    assert bell.rings == []
    bell.away = False
    with db.transaction(pool) as conn:
        conn.execute("UPDATE task SET ring_at = now()")
    tick.run_tick(pool, bell, settings, Memory())
    assert len(bell.rings) == 2


def test_late_by_an_hour_the_run_says_so(pool: db.Pool, settings: Settings, make: Make) -> None:
    report_id = make(ago=dt.timedelta(hours=1))
    tick.run_tick(pool, RecordingBell(), settings, Memory())
    [run] = runs_of(pool, report_id)
    assert run.spec.late


def test_slots_missed_in_a_long_night_become_visible_rows(
    pool: db.Pool, settings: Settings, make: Make
) -> None:
    now = dt.datetime.now(dt.UTC)
    hourly = Schedule(frequency="hourly", time_zone="UTC", start=now - dt.timedelta(hours=3.49))
    report_id = make(ago=dt.timedelta(hours=3.5), schedule=hourly)
    tick.run_tick(pool, RecordingBell(), settings, Memory())
    states = [run.state for run in runs_of(pool, report_id)]
    assert sorted(states) == ["missed", "missed", "missed", "queued"]


def test_after_a_restore_slots_up_to_then_are_missed_and_later_ones_run(
    pool: db.Pool, settings: Settings, make: Make
) -> None:
    before, longer = make(name="a", ago=dt.timedelta(minutes=5)), make(name="b", ago=2 * DAY)
    with db.transaction(pool) as conn:
        restores.settle(conn)
    after = make(name="c", ago=dt.timedelta(0))
    tick.run_tick(pool, RecordingBell(), settings, Memory())
    assert [(run.state, run.cause) for run in runs_of(pool, before)] == [("missed", claim.RESTORED)]
    assert {run.state for run in runs_of(pool, longer)} == {"missed"}
    assert [run.state for run in runs_of(pool, after)] == ["queued"]
    for report_id in (before, longer):
        assert report_of(pool, report_id).next_run_at


def test_ids_that_leapt_are_one_step_for_the_next_tzdata(pool: db.Pool, make: Make) -> None:
    make(name="a")
    with db.transaction(pool) as conn:
        restores.settle(conn)
    last = make(name="b")
    chores = Chores()
    for _ in range(3):
        sweep.do_chores(pool, chores)
    assert last > restores.LEAP
    assert chores.recomputed is None


def test_a_report_whose_previous_run_is_under_way_is_skipped_visibly(
    pool: db.Pool, settings: Settings, make: Make
) -> None:
    report_id = make()
    tick.run_tick(pool, RecordingBell(), settings, Memory())
    with db.transaction(pool) as conn:
        conn.execute("UPDATE report SET next_run_at = next_run_at - interval '1 day'")
        conn.execute("UPDATE run SET scheduled_for = scheduled_for - interval '1 day'")
    tick.run_tick(pool, RecordingBell(), settings, Memory())
    newest, oldest = runs_of(pool, report_id)
    assert (newest.state, oldest.state) == ("skipped", "queued")
    assert newest.cause == claim.OVERLAP


def test_a_run_that_only_waits_for_a_recipient_does_not_hold_up_the_next(
    pool: db.Pool, settings: Settings, make: Make
) -> None:
    report_id = make()
    tick.run_tick(pool, RecordingBell(), settings, Memory())
    with db.transaction(pool) as conn:
        conn.execute("UPDATE report SET next_run_at = next_run_at - interval '1 day'")
        conn.execute(
            "UPDATE run SET scheduled_for = scheduled_for - interval '1 day', "
            "state = 'delivering', rendered_at = now(), mail = '{}'"
        )
    tick.run_tick(pool, RecordingBell(), settings, Memory())
    newest, oldest = runs_of(pool, report_id)
    assert (newest.state, oldest.state) == ("queued", "delivering")


def test_a_report_that_has_had_its_last_slot_expires(
    pool: db.Pool, settings: Settings, make: Make
) -> None:
    start = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=0.5)
    report_id = make(schedule=Schedule(frequency="once", time_zone="UTC", start=start))
    tick.run_tick(pool, RecordingBell(), settings, Memory())
    assert report_of(pool, report_id).state == "expired"
    assert len(runs_of(pool, report_id)) == 1


def test_one_report_that_cannot_be_computed_does_not_stop_the_others(
    pool: db.Pool, settings: Settings, make: Make
) -> None:
    broken, sound = make(name="broken"), make(name="sound")
    with db.transaction(pool) as conn:
        conn.execute("UPDATE report SET time_zone = 'Mars/Olympus' WHERE id = %s", [broken])
    tick.run_tick(pool, RecordingBell(), settings, Memory())
    assert len(runs_of(pool, sound)) == 1
    [untold] = runs_of(pool, broken)
    assert untold.state == "missed"
    assert "Mars/Olympus" in (untold.cause or "")
    next_run = report_of(pool, broken).next_run_at
    assert next_run
    assert next_run > dt.datetime.now(dt.UTC) + dt.timedelta(minutes=50)


def test_a_dead_workers_task_is_given_back_and_after_the_last_attempt_given_up(
    pool: db.Pool, settings: Settings, make: Make
) -> None:
    report_id = make()
    bell = RecordingBell()
    tick.run_tick(pool, bell, settings, Memory())
    task_id = bell.rings[0].task_id
    for attempt in range(1, settings.max_attempts + 1):
        with db.transaction(pool) as conn:
            claimed = tasks.claim(conn, task_id, "render", "doomed", lease=60)
            assert claimed
            assert claimed.attempt == attempt
            conn.execute("UPDATE task SET lease_until = now() - interval '1 second' "
                         "WHERE owner IS NOT NULL")  # fmt: skip
        assert sweep.reap(pool, max_attempts=settings.max_attempts) == 1
    [run] = runs_of(pool, report_id)
    assert run.state == "failed"
    assert "doomed" in (run.cause or "")
    # Nobody needs its other dashboard now.
    sweep.do_chores(pool, Chores())
    with db.transaction(pool) as conn:
        left = conn.execute("SELECT count(*) AS n FROM task").fetchone()
    assert left == {"n": 0}


def test_two_dead_captures_of_one_run_do_not_keep_others_from_being_settled(
    pool: db.Pool, settings: Settings, make: Make
) -> None:
    first, second = make(name="first"), make(name="second")
    bell = RecordingBell()
    tick.run_tick(pool, bell, settings, Memory())
    for ring in bell.rings:
        with db.transaction(pool) as conn:
            assert tasks.claim(conn, ring.task_id, "render", "doomed", lease=60)
    with db.transaction(pool) as conn:
        conn.execute("UPDATE task SET lease_until = now() - interval '1 second', attempt = 9")
    sweep.reap(pool, max_attempts=settings.max_attempts)
    assert [runs_of(pool, report_id)[0].state for report_id in (first, second)] == ["failed"] * 2


def test_finding_what_is_due_reads_an_index_and_not_every_report(pool: db.Pool, make: Make) -> None:
    report_id = make(ago=-DAY)
    with db.transaction(pool) as conn:
        conn.execute(
            "INSERT INTO report (uid, org_id, user_id, name, subject, message, recipients, "
            "reply_to, state, frequency, interval_frequency, interval_amount, workdays_only, "
            "day_of_month, time_zone, dashboards, formats, options, scale_factor, "
            "enable_dashboard_url, enable_csv, created, updated, next_run_at, tzdata) "
            "SELECT 'copy' || n, org_id, user_id, name, subject, message, recipients, reply_to, "
            "state, frequency, interval_frequency, interval_amount, workdays_only, day_of_month, "
            "time_zone, dashboards, formats, options, scale_factor, enable_dashboard_url, "
            "enable_csv, created, updated, next_run_at, tzdata "
            "FROM report, generate_series(1, 5000) n WHERE id = %s",
            [report_id],
        )
        conn.execute("ANALYZE report")
        plan = conn.execute(f"EXPLAIN {reports.DUE}", [claim.BATCH]).fetchall()
    text = "\n".join(row["QUERY PLAN"] for row in plan)
    assert "Index Cond" in text
    assert "Seq Scan" not in text


def test_exports_of_yesterday_are_deleted_and_nothing_else(pool: db.Pool) -> None:
    kept = new_export(pool, "1 hour")
    new_export(pool, "2 days")
    sweep.do_chores(pool, Chores())
    with db.transaction(pool) as conn:
        left = conn.execute("SELECT id FROM run").fetchall()
    assert left == [{"id": kept}]


def new_export(pool: db.Pool, age: str) -> int:
    with db.transaction(pool) as conn:
        made = admission.insert(
            conn,
            runs.NewRun(
                org_id=1,
                report_id=None,
                report_revision=None,
                kind=runs.EXPORT,
                scheduled_for=dt.datetime.now(dt.UTC),
                spec=RunSpec(name="r", dashboards=(DashboardSpec(uid="a"),)),
            ),
        )
        assert made
        runs.finish(conn, made[0], "sent")
        conn.execute(
            "UPDATE run SET finished_at = now() - %s::interval WHERE id = %s", [age, made[0]]
        )
    return made[0]


def test_beat_sleeps_until_the_next_slot_and_no_longer(
    pool: db.Pool, settings: Settings, make: Make
) -> None:
    assert tick.seconds_to_next(pool) == tick.LONGEST_SLEEP
    make(ago=-dt.timedelta(seconds=0.4))
    assert tick.SHORTEST_SLEEP <= tick.seconds_to_next(pool) <= 0.4


def test_a_broker_that_lost_everything_is_rung_again_at_once(
    pool: db.Pool, settings: Settings, make: Make
) -> None:
    bell, memory = RecordingBell(), Memory()
    make()
    tick.run_tick(pool, bell, settings, memory)
    tick.run_tick(pool, bell, settings, memory)
    assert len(bell.rings) == 2
    bell.emptied = True
    tick.run_tick(pool, bell, settings, memory)
    assert len(bell.rings) == 4


@pytest.mark.parametrize(("tasks", "level"), [(True, "warning"), (False, "info")])
def test_a_broker_that_starts_is_no_news_but_one_that_lost_messages_is(
    pool: db.Pool, settings: Settings, make: Make, tasks: bool, level: str
) -> None:
    bell, memory = RecordingBell(), Memory()
    if tasks:
        make()
        tick.run_tick(pool, bell, settings, memory)
        tick.run_tick(pool, bell, settings, memory)
    bell.emptied = True
    with structlog.testing.capture_logs() as logs:
        tick.run_tick(pool, bell, settings, memory)
    assert [log["log_level"] for log in logs if log["event"] == "bell.broker_lost_all"] == [level]


def test_a_clock_that_jumped_claims_nothing(pool: db.Pool, make: Make) -> None:
    memory = Memory()

    def off(seconds: float) -> Callable[[], dt.datetime]:
        return lambda: tick.now() + dt.timedelta(seconds=seconds)

    assert tick.clocks_agree(pool, off(-5), memory)
    assert not tick.clocks_agree(pool, off(-40), memory)
    assert not tick.clocks_agree(pool, off(40), memory)
    assert tick.clocks_agree(pool, off(0), memory)


def test_a_database_that_hung_while_it_was_asked_has_no_other_clock(pool: db.Pool) -> None:
    asked = iter([tick.now() - dt.timedelta(minutes=5), tick.now() + dt.timedelta(seconds=1)])
    assert tick.clocks_agree(pool, lambda: next(asked), Memory())


def test_slots_of_another_tzdata_are_computed_anew_and_due_ones_stay(
    pool: db.Pool, make: Make
) -> None:
    later, due = make(ago=-DAY, name="later"), make(name="due")
    with db.transaction(pool) as conn:
        conn.execute(
            "UPDATE report SET tzdata = '1999a', next_run_at = next_run_at + interval '1 hour' "
            "WHERE id = %s",
            [later],
        )
        conn.execute("UPDATE report SET tzdata = '1999a' WHERE id = %s", [due])
    before = report_of(pool, later).next_run_at, report_of(pool, due).next_run_at
    chores = Chores()
    while chores.recomputed is not None:
        sweep.do_chores(pool, chores)
    assert before[0]
    assert report_of(pool, later).next_run_at == before[0] - dt.timedelta(hours=1)
    assert report_of(pool, due).next_run_at == before[1]
    with db.transaction(pool) as conn:
        rows = conn.execute("SELECT DISTINCT tzdata FROM report").fetchall()
    assert [row["tzdata"] for row in rows] == [reports.tzdata_release()]
