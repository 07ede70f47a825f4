"""Who goes next, and which captures are rendered once for several runs."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from beat import sweep, tick
from beat.sweep import Chores
from beat.tick import Memory
from shared import admission, captures, db, reports, runs, tasks
from shared.admission import Turn
from shared.reports import Report
from shared.schedule import Schedule
from shared.settings import Settings
from shared.spec import DashboardSpec, RunSpec
from tests.fakes import RecordingBell

SLOT = dt.datetime(2026, 11, 2, 9, tzinfo=dt.UTC)
Due = Callable[..., int]


@pytest.fixture
def due(pool: db.Pool) -> Due:
    """Stores a report that is due now, for the slot that the database's clock just passed."""
    with db.transaction(pool) as conn:
        slot = db.clock(conn) - dt.timedelta(milliseconds=10)

    def due(org_id: int = 1, **changes: object) -> int:
        report = Report(
            uid=f"u{org_id}-{changes.get('name', '')}",
            org_id=org_id,
            user_id=1,
            **{"name": "r", "recipients": ["a@example.com"],
               "dashboards": [{"dashboard": {"uid": "a"}}], **changes},
            schedule=Schedule(frequency="daily", time_zone="UTC", start=slot),
            created=slot,
            updated=slot,
            next_run_at=slot,
        )  # fmt: skip
        with db.transaction(pool) as conn:
            return reports.insert(conn, report)

    return due


def run_of(pool: db.Pool, report_id: int) -> runs.Run:
    with db.transaction(pool) as conn:
        [run] = runs.find(conn, 1, report_id) or runs.find(conn, 2, report_id)
    return run


def captures_of(pool: db.Pool, report_id: int) -> list[int]:
    with db.transaction(pool) as conn:
        return [capture.id for capture in captures.of_run(conn, run_of(pool, report_id).id)]


def claim(pool: db.Pool, settings: Settings) -> None:
    tick.claim_due(pool, settings)


def admit(pool: db.Pool, *, room: int, turn: Turn | None = None) -> list[runs.Run]:
    with db.transaction(pool) as conn:
        admitted = admission.lock_waiting(conn, turn or Turn(), room=room)
        admission.admit(conn, admitted)
    return admitted


def asked_for(pool: db.Pool, uid: str = "a", *, ago: float = 0.0) -> tuple[int, list[tasks.Ring]]:
    """A run by the API for an absolute range, as is every run's whose pages can be shared."""
    spec = DashboardSpec(uid=uid, time_from="2026-01-01", time_to="2026-01-02")
    with db.transaction(pool) as conn:
        made = admission.insert(
            conn,
            runs.NewRun(
                org_id=1,
                report_id=None,
                report_revision=None,
                kind=runs.TEST,
                scheduled_for=db.clock(conn) - dt.timedelta(seconds=ago),
                spec=RunSpec(name="r", dashboards=(spec,), recipients=("a@example.com",)),
            ),
        )
    assert made
    return made


def test_reports_with_one_dashboard_at_one_slot_are_rendered_once(
    pool: db.Pool, settings: Settings, due: Due
) -> None:
    first, second, other = due(name="1"), due(name="2"), due(
        name="3", dashboards=[{"dashboard": {"uid": "b"}}]
    )  # fmt: skip
    bell = RecordingBell()
    tick.run_tick(pool, bell, settings, Memory())
    assert captures_of(pool, first) == captures_of(pool, second)
    assert captures_of(pool, other) != captures_of(pool, first)
    assert [ring.kind for ring in bell.rings] == ["render"] * 2


def test_what_shapes_a_picture_keeps_captures_apart(
    pool: db.Pool, settings: Settings, due: Due
) -> None:
    one = {"dashboard": {"uid": "a"}}
    made = [
        due(name="plain"),
        due(name="landscape", options={"orientation": "landscape"}),
        due(name="images", formats=["image"]),
        due(name="variables", dashboards=[{**one, "reportVariables": {"region": "eu"}}]),
        due(name="range", dashboards=[{**one, "timeRange": {"from": "now-1h", "to": "now"}}]),
        due(name="strict", options={"onIncomplete": "fail"}),
        due(name="other org", org_id=2),
    ]
    tick.run_tick(pool, RecordingBell(), settings, Memory())
    found = [tuple(captures_of(pool, report_id)) for report_id in made]
    assert len(set(found)) == len(made)


def test_what_does_not_shape_it_does_not(pool: db.Pool, settings: Settings, due: Due) -> None:
    made = [
        due(name="one"),
        due(name="two", message="Hello", recipients=["b@example.com"]),
        due(name="three", dashboards=[{"dashboard": {"uid": "a", "name": "As we call it"}}]),
    ]
    tick.run_tick(pool, RecordingBell(), settings, Memory())
    assert len({tuple(captures_of(pool, report_id)) for report_id in made}) == 1


def test_a_run_joins_a_capture_that_waits_and_not_one_that_has_begun(pool: db.Pool) -> None:
    first, [ring] = asked_for(pool)
    second, nothing = asked_for(pool)
    assert nothing == []
    with db.transaction(pool) as conn:
        taken = tasks.claim(conn, ring.task_id, "render", "one", lease=60)
        assert taken
        captures.start(conn, taken.capture_id or 0, 1)
    third, [another] = asked_for(pool)
    assert another.task_id != ring.task_id
    with db.transaction(pool) as conn:
        ids = [captures.of_run(conn, run_id)[0].id for run_id in (first, second, third)]
    assert ids[0] == ids[1] != ids[2]


def test_a_slot_joins_a_capture_that_began_after_it(
    pool: db.Pool, settings: Settings, due: Due
) -> None:
    first = due(name="1")
    bell = RecordingBell()
    tick.run_tick(pool, bell, settings, Memory())
    with db.transaction(pool) as conn:
        assert tasks.claim(conn, bell.rings[0].task_id, "render", "one", lease=60)
        captures.start(conn, captures_of(pool, first)[0], 1)
    second = due(name="2")
    tick.run_tick(pool, bell, settings, Memory())
    assert captures_of(pool, first) == captures_of(pool, second)


def test_somebody_who_waits_takes_what_is_scheduled_along(
    pool: db.Pool, settings: Settings, due: Due
) -> None:
    fixed = {"dashboard": {"uid": "a"}, "timeRange": {"from": "2026-01-01", "to": "2026-01-02"}}
    report_id = due(dashboards=[fixed])
    bell = RecordingBell()
    tick.run_tick(pool, bell, settings, Memory())
    run_id, [ring] = asked_for(pool)
    assert (ring.task_id, ring.lane) == (bell.rings[0].task_id, "interactive")
    with db.transaction(pool) as conn:
        assert [one.id for one in captures.of_run(conn, run_id)] == captures_of(pool, report_id)


def test_a_capture_that_fails_fails_all_who_share_it(pool: db.Pool, settings: Settings) -> None:
    first, [ring] = asked_for(pool)
    second, _ = asked_for(pool)
    with db.transaction(pool) as conn:
        assert tasks.claim(conn, ring.task_id, "render", "doomed", lease=60)
        conn.execute("UPDATE task SET lease_until = now() - interval '1 second', attempt = 9")
    sweep.reap(pool, max_attempts=settings.max_attempts)
    with db.transaction(pool) as conn:
        states = [found.state for run_id in (first, second) if (found := runs.get(conn, run_id))]
    assert states == ["failed", "failed"]


def test_a_capture_goes_on_for_one_run_when_another_is_cancelled(pool: db.Pool) -> None:
    first, [ring] = asked_for(pool)
    second, _ = asked_for(pool)
    with db.transaction(pool) as conn:
        assert runs.cancel(conn, first, "not wanted")
    sweep.do_chores(pool, Chores())
    with db.transaction(pool) as conn:
        [capture] = captures.of_run(conn, second)
        assert capture.state == "queued"
        assert tasks.claim(conn, ring.task_id, "render", "one", lease=60)
        assert runs.lock_sharing(conn, capture.id) == {second: "interactive"}


def test_an_edit_after_the_claim_changes_the_next_run_and_not_this_one(
    pool: db.Pool, settings: Settings, due: Due
) -> None:
    report_id = due(name="Before")
    claim(pool, settings)
    with db.transaction(pool) as conn:
        stored = reports.get(conn, 1, report_id, for_update=True)
        assert stored
        reports.update(conn, _with(stored, name="After", recipients=["late@example.com"]))
    admit(pool, room=5)
    run = run_of(pool, report_id)
    assert (run.spec.name, run.spec.recipients) == ("Before", ("a@example.com",))


def test_an_edit_before_the_claim_counts(pool: db.Pool, settings: Settings, due: Due) -> None:
    report_id = due(name="Before")
    with db.transaction(pool) as conn:
        stored = reports.get(conn, 1, report_id, for_update=True)
        assert stored
        reports.update(conn, _with(stored, name="After"))
    claim(pool, settings)
    admit(pool, room=5)
    assert run_of(pool, report_id).spec.name == "After"


def test_a_run_that_waits_outlives_its_report_as_it_was(
    pool: db.Pool, settings: Settings, due: Due
) -> None:
    report_id = due(name="Gone")
    claim(pool, settings)
    run_id = run_of(pool, report_id).id
    with db.transaction(pool) as conn:
        reports.delete(conn, 1, report_id)
    admit(pool, room=5)
    with db.transaction(pool) as conn:
        run = runs.get(conn, run_id)
    assert run
    assert (run.report_id, run.spec.name) == (None, "Gone")


def _with(report: Report, **changes: object) -> Report:
    fields = {name: getattr(report, name) for name in Report.__dataclass_fields__}
    return Report(**{**fields, **changes})


def test_organisations_take_turns(pool: db.Pool, settings: Settings, due: Due) -> None:
    for number in range(30):
        due(name=str(number), org_id=1)
    due(name="the only one", org_id=2)
    claim(pool, settings)
    first = admit(pool, room=10)
    assert {run.org_id for run in first} == {1, 2}
    assert len(first) <= 10


def test_more_organisations_than_room_are_served_one_after_the_other(
    pool: db.Pool, settings: Settings, due: Due
) -> None:
    for org_id in range(1, 8):
        due(name=str(org_id), org_id=org_id)
    claim(pool, settings)
    turn = Turn()
    served = [[run.org_id for run in admit(pool, room=3, turn=turn)] for _ in range(3)]
    assert sorted(org for part in served for org in part) == list(range(1, 8))
    assert [len(part) for part in served] == [3, 3, 1]


def test_no_more_is_rung_for_than_the_window_has_room_for(
    pool: db.Pool, settings: Settings, due: Due
) -> None:
    for number in range(tasks.LEAST_WINDOW + 20):
        uid = {"uid": f"d{number}"}
        due(name=str(number), dashboards=[{"dashboard": uid}])
    bell, memory = RecordingBell(), Memory()
    assert tick.run_tick(pool, bell, settings, memory) == tick.FULL_SLEEP
    assert len(bell.rings) == tasks.LEAST_WINDOW
    # As workers take some, others follow.
    with db.transaction(pool) as conn:
        for ring in bell.rings[:10]:
            assert tasks.claim(conn, ring.task_id, "render", "w", lease=60)
    tick.run_tick(pool, bell, settings, memory)
    assert len(bell.rings) == tasks.LEAST_WINDOW + 10


def test_a_run_without_a_dashboard_fails_at_once(
    pool: db.Pool, settings: Settings, due: Due
) -> None:
    report_id = due(dashboards=[])
    tick.run_tick(pool, RecordingBell(), settings, Memory())
    run = run_of(pool, report_id)
    assert (run.state, run.cause) == ("failed", admission.NO_DASHBOARD)


def test_a_run_whose_turn_never_comes_is_missed_visibly(
    pool: db.Pool, settings: Settings, due: Due
) -> None:
    report_id = due()
    claim(pool, settings)
    with db.transaction(pool) as conn:
        conn.execute("UPDATE run SET deadline = now() - interval '1 second'")
    sweep.give_up_overdue(pool)
    run = run_of(pool, report_id)
    assert (run.state, run.cause) == ("missed", sweep.NO_TURN)


def test_a_run_that_is_not_rendered_by_its_deadline_fails(
    pool: db.Pool, settings: Settings, due: Due
) -> None:
    report_id = due()
    tick.run_tick(pool, RecordingBell(), settings, Memory())
    with db.transaction(pool) as conn:
        conn.execute("UPDATE run SET deadline = now() - interval '1 second'")
    sweep.give_up_overdue(pool)
    run = run_of(pool, report_id)
    assert (run.state, run.cause) == ("failed", sweep.NOT_RENDERED)


def test_a_report_that_spreads_its_slots_begins_later_and_always_as_late(
    pool: db.Pool, settings: Settings, due: Due
) -> None:
    made = [due(name=str(number), options={"spreadSeconds": 600}) for number in range(20)]
    claim(pool, settings)
    assert admit(pool, room=50) == []
    with db.transaction(pool) as conn:
        rows = conn.execute(
            "SELECT report_id, extract(epoch FROM not_before - scheduled_for)::float8 AS aside "
            "FROM run ORDER BY report_id"
        ).fetchall()
    asides = [row["aside"] for row in rows]
    assert [row["report_id"] for row in rows] == made
    assert all(0 <= aside < 600 for aside in asides)
    assert len(set(asides)) == len(made)


def test_a_run_that_may_not_begin_yet_does_not_cost_the_next_slot(
    pool: db.Pool, settings: Settings, due: Due
) -> None:
    report_id = due(options={"spreadSeconds": 600})
    claim(pool, settings)
    with db.transaction(pool) as conn:
        # As an edit of the rule may have it: the next slot comes before the run has begun.
        conn.execute("UPDATE run SET not_before = now() + interval '5 minutes'")
        assert runs.rendering_among(conn, [report_id]) == set()
        conn.execute("UPDATE run SET not_before = now() - interval '1 second'")
        assert runs.rendering_among(conn, [report_id]) == {report_id}


def test_only_so_many_captures_of_a_grafana_are_under_way_at_once(pool: db.Pool) -> None:
    rings = [asked_for(pool, uid)[1][0] for uid in ("a", "b", "c")]
    with db.transaction(pool) as conn:
        taken = [tasks.claim(conn, ring.task_id, "render", "w", lease=60, most=2) for ring in rings]
        assert [claim is not None for claim in taken] == [True, True, False]
        first = taken[0]
        assert first
        tasks.complete(conn, first)
        assert tasks.claim(conn, rings[2].task_id, "render", "w", lease=60, most=2)


def test_organisations_whose_runs_wait_for_their_time_do_not_hold_up_others(
    pool: db.Pool, settings: Settings, due: Due
) -> None:
    for org_id in range(1, 5):
        due(name=str(org_id), org_id=org_id, options={"spreadSeconds": 80_000})
    due(name="now", org_id=9)
    claim(pool, settings)
    with db.transaction(pool) as conn:
        conn.execute("UPDATE run SET not_before = now() + interval '1 hour' WHERE org_id < 9")
    assert [run.org_id for run in admit(pool, room=2)] == [9]


def test_room_that_one_organisation_leaves_is_anothers(
    pool: db.Pool, settings: Settings, due: Due
) -> None:
    for number in range(tasks.LEAST_WINDOW):
        uid = {"uid": f"d{number}"}
        due(name=str(number), org_id=1, dashboards=[{"dashboard": uid}])
    due(name="the only one", org_id=2)
    bell = RecordingBell()
    tick.run_tick(pool, bell, settings, Memory())
    assert len(bell.rings) == tasks.LEAST_WINDOW


def test_no_run_is_older_than_an_edit_that_was_acknowledged(
    pool: db.Pool, settings: Settings, due: Due
) -> None:
    report_id = due(name="0")
    acknowledged: list[tuple[dt.datetime, int]] = []
    over = threading.Event()

    def edit() -> None:
        for number in range(1, 26):
            with db.transaction(pool) as conn:
                stored = reports.get(conn, 1, report_id, for_update=True)
                assert stored
                slot = db.clock(conn)
                again = Schedule(frequency="once", time_zone="UTC", start=slot)
                reports.update(
                    conn,
                    _with(stored, name=str(number), schedule=again, next_run_at=slot,
                          state="scheduled"),
                )  # fmt: skip
            with db.transaction(pool) as conn:
                acknowledged.append((db.clock(conn), number))
        over.set()

    def beat() -> None:
        while not over.is_set():
            claim(pool, settings)
            admit(pool, room=5)

    with ThreadPoolExecutor() as threads:
        done = [threads.submit(work) for work in (beat, beat, edit)]
        for future in done:
            future.result(60)
    with db.transaction(pool) as conn:
        made = [run for run in runs.find(conn, 1, report_id, limit=500) if run.state == "queued"]
    assert made
    for run in made:
        known = max((number for at, number in acknowledged if at <= run.created_at), default=0)
        assert int(run.spec.name) >= known


def test_a_report_that_cannot_be_understood_fails_alone(
    pool: db.Pool, settings: Settings, due: Due
) -> None:
    broken, sound = due(name="broken"), due(name="sound")
    with db.transaction(pool) as conn:
        conn.execute("UPDATE report SET dashboards = '[1]' WHERE id = %s", [broken])
    tick.run_tick(pool, RecordingBell(), settings, Memory())
    assert run_of(pool, broken).state == "failed"
    assert len(captures_of(pool, sound)) == 1


def test_nobody_joins_a_capture_whose_runs_were_all_cancelled(
    pool: db.Pool, settings: Settings
) -> None:
    first, _ = asked_for(pool)
    with db.transaction(pool) as conn:
        runs.cancel(conn, first, "not wanted")
    sweep.do_chores(pool, Chores())
    second, rings = asked_for(pool)
    assert len(rings) == 1
    with db.transaction(pool) as conn:
        [capture] = captures.of_run(conn, second)
    assert capture.state == "queued"


def test_a_run_that_another_beat_admits_is_not_admitted_twice(
    pool: db.Pool, settings: Settings, due: Due
) -> None:
    for number in range(12):
        due(name=str(number), dashboards=[{"dashboard": {"uid": f"d{number}"}}])
    claim(pool, settings)
    with ThreadPoolExecutor() as threads:
        parts = list(threads.map(lambda _: admit(pool, room=20), range(6)))
    admitted = [run.id for part in parts for run in part]
    assert len(admitted) == len(set(admitted)) == 12


def test_somebody_who_waits_does_not_put_off_an_attempt_that_is_near(
    pool: db.Pool, settings: Settings, due: Due
) -> None:
    fixed = {"dashboard": {"uid": "a"}, "timeRange": {"from": "2026-01-01", "to": "2026-01-02"}}
    due(dashboards=[fixed])
    bell = RecordingBell()
    tick.run_tick(pool, bell, settings, Memory())
    with db.transaction(pool) as conn:
        taken = tasks.claim(conn, bell.rings[0].task_id, "render", "w", lease=60)
        assert taken
        tasks.release(conn, taken, after=20)
    assert asked_for(pool)[1] == []
    with db.transaction(pool) as conn:
        row = conn.execute("SELECT lane, ring_at = not_before AS soon FROM task").fetchone()
    assert row == {"lane": "interactive", "soon": True}


def test_a_report_that_cannot_be_understood_can_be_deleted(
    pool: db.Pool, settings: Settings, due: Due
) -> None:
    report_id = due(name="broken")
    claim(pool, settings)
    with db.transaction(pool) as conn:
        conn.execute("UPDATE report SET dashboards = '[7]' WHERE id = %s", [report_id])
        assert reports.delete(conn, 1, report_id)
