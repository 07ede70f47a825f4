"""Runs whose documents lie in an S3-compatible store, and what an operator does with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from beat import keeping, sweep
from deploy.local.services import free_port
from shared import db, documents, presence, resolutions, restores, runs
from shared.s3 import Bucket
from shared.settings import Settings
from shared.spec import RunSpec
from shared.storage import Storage
from tests.fakes import FakeMailer
from tests.integration.workers.test_pipeline import SLOT, STEPS, Workshop, workshop_of
from tests.seaweed import Seaweed


@pytest.fixture
def in_s3(settings: Settings, environ: dict[str, str], seaweed: Seaweed, request) -> Settings:
    corner = f"{request.node.name.partition('[')[0]}/"
    return Settings.from_environment(environ | seaweed.environ() | {"BROADSHEET_S3_PREFIX": corner})


@pytest.fixture
def objects(in_s3: Settings) -> Callable[[], list[str]]:
    return lambda: sorted(Bucket(in_s3).keys())


@pytest.fixture
def workshop(pool: db.Pool, in_s3: Settings) -> Workshop:
    return workshop_of(pool, in_s3)


def away(workshop: Workshop) -> Storage:
    """The same store, which nobody reaches."""
    settings = dataclasses.replace(
        workshop.deps.settings, s3_endpoint=f"http://127.0.0.1:{free_port()}"
    )
    return Storage.from_settings(settings)


def take_only(workshop: Workshop, kind: str) -> None:
    """Work until the first task of a kind is rung for, which stays in the bell."""
    while workshop.bell.rings and workshop.bell.rings[0].kind != kind:
        workshop_step(workshop)


def workshop_step(workshop: Workshop) -> None:
    ring = workshop.bell.rings.pop(0)
    STEPS[ring.kind](ring.task_id, workshop.deps)


def test_a_run_is_mailed_from_the_store_and_its_raw_output_goes(workshop, pool, objects):
    run_id = workshop.start()
    take_only(workshop, "assemble")
    assert len(objects()) == 2
    workshop.work()
    assert workshop.run(run_id).state == "sent"
    assert len(workshop.mailer.sent) == 2
    with db.transaction(pool) as conn:
        [document] = documents.of_run(conn, run_id)
        kept = documents.kept(conn, [document.id])[document.id]
    assert (kept.content, kept.key in objects()) == (None, True)
    keeping.step(pool, workshop.deps.settings, workshop.deps.storage, keeping.Memory())
    assert objects() == [kept.key]


@pytest.mark.parametrize("kind", ["render", "assemble", "deliver"])
def test_a_store_that_is_away_is_tried_again_at_each_step(workshop, pool, kind):
    run_id = workshop.start()
    take_only(workshop, kind)
    storage = workshop.deps.storage
    workshop.deps = dataclasses.replace(workshop.deps, storage=away(workshop))
    workshop_step(workshop)
    with db.transaction(pool) as conn:
        waiting = conn.execute(
            "SELECT owner FROM task WHERE kind = %s AND not_before > now()", [kind]
        ).fetchall()
    assert waiting == [{"owner": None}]
    assert workshop.mailer.sent == []
    workshop.deps = dataclasses.replace(workshop.deps, storage=storage)
    workshop.make_due()
    sweep.ring_again(pool, workshop.bell)
    workshop.work()
    run = workshop.run(run_id)
    assert run.state == "sent", run.cause
    assert len(workshop.mailer.sent) == 2


def test_a_store_that_stays_away_fails_the_run_and_says_why(workshop):
    run_id = workshop.start()
    workshop.deps = dataclasses.replace(workshop.deps, storage=away(workshop))
    workshop.work()
    run = workshop.run(run_id)
    assert run.state == "failed"
    assert "BROADSHEET_S3_ENDPOINT" in (run.cause or "")


def test_a_mail_whose_file_is_damaged_does_not_go_out(workshop, pool, objects, in_s3):
    run_id = workshop.start(recipients=("one@example.com",))
    take_only(workshop, "deliver")
    with db.transaction(pool) as conn:
        [document] = documents.of_run(conn, run_id)
        key = documents.kept(conn, [document.id])[document.id].key
    Bucket(in_s3).write(key, b"something else")
    workshop_step(workshop)
    entry = workshop.ledger(run_id)["one@example.com"]
    assert (entry.state, workshop.mailer.sent) == ("retry", [])
    assert "is damaged" in entry.cause


def test_neither_place_nor_turn_at_the_mail_server_is_held_while_the_store_is_asked(workshop):
    """Others could not send meanwhile, and the turn is asked for with the place in hand."""

    class Placed(FakeMailer):
        places = 0

        @contextmanager
        def reserved(self) -> Iterator[None]:
            self.places += 1
            yield

    workshop.start(recipients=("one@example.com",))
    take_only(workshop, "deliver")
    mailer, storage = Placed(), workshop.deps.storage
    workshop.deps = dataclasses.replace(workshop.deps, mailer=mailer, storage=away(workshop))
    workshop_step(workshop)
    assert mailer.places == 0
    workshop.deps = dataclasses.replace(workshop.deps, storage=storage)
    workshop.make_due()
    sweep.ring_again(workshop.pool, workshop.bell)
    workshop.work()
    assert (mailer.places, len(mailer.sent)) == (1, 1)


def test_no_transaction_is_open_while_the_store_is_asked(workshop, pool):
    """Seen from another connection, whatever the step."""
    seen: list[int] = []

    class Watched:
        def __init__(self, store) -> None:
            self._store = store

        def __getattr__(self, name):
            with db.transaction(pool) as conn:
                row = conn.execute(
                    "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() "
                    "AND state LIKE 'idle in transaction%' AND pid <> pg_backend_pid()"
                ).fetchone()
            seen.append(row["n"])
            return getattr(self._store, name)

    storage = workshop.deps.storage
    storage._store = Watched(storage._store)
    run_id = workshop.start()
    workshop.work()
    assert workshop.run(run_id).state == "sent"
    keeping.step(pool, workshop.deps.settings, storage, keeping.Memory())
    # Two parts and a file written, two parts and twice the file read, two parts deleted.
    assert seen == [0] * 9


# restored


def test_after_a_restore_nothing_that_may_have_gone_out_is_sent_by_itself(workshop, pool):
    sent = workshop.start(recipients=("one@example.com",))
    workshop.work()
    open_, queued = workshop.start(), workshop.start()
    while workshop.run(open_).state != "delivering":
        workshop_step(workshop)
    before = len(workshop.mailer.sent)
    with db.transaction(pool) as conn:
        planned = restores.plan(conn)
        assert restores.settle(conn) == planned
    assert planned.mails in (2, 4)
    workshop.work()
    assert len(workshop.mailer.sent) == before
    assert workshop.run(sent).state == "sent"
    assert {entry.state for entry in workshop.ledger(open_).values()} == {"unknown"}
    assert workshop.run(open_).state == "failed"
    assert workshop.run(queued).state == "failed"
    assert "restored from a backup" in (workshop.run(queued).cause or "")
    with db.transaction(pool) as conn:
        assert conn.execute("SELECT FROM task WHERE kind <> 'render'").fetchall() == []


def test_after_a_restore_no_id_is_given_that_stands_in_an_older_mail(workshop, pool):
    before = workshop.start()
    with db.transaction(pool) as conn:
        restores.settle(conn)
    assert workshop.start() > before + restores.LEAP


def test_a_mail_that_is_unknown_by_a_restore_can_be_resolved_twice(workshop, pool):
    run_id = workshop.start(recipients=("one@example.com",))
    take_only(workshop, "deliver")
    who = resolutions.Resolver(who="ann", through="command line")
    for _ in range(2):
        with db.transaction(pool) as conn:
            restores.settle(conn)
        entry = workshop.ledger(run_id)["one@example.com"]
        assert entry.state == "unknown"
        with db.transaction(pool) as conn:
            assert resolutions.resolve(conn, entry.id, "again", who)


def test_processes_that_are_at_work_are_to_be_stopped_first(pool):
    with db.transaction(pool) as conn:
        presence.renew(conn, presence.this(presence.BEAT))
    with pytest.raises(restores.StillRunning), db.transaction(pool) as conn:
        restores.settle(conn)


def test_runs_that_wait_for_their_turn_are_missed_after_a_restore(pool, workshop):
    new = runs.NewRun(
        org_id=1,
        report_id=None,
        report_revision=None,
        kind=runs.SCHEDULE,
        scheduled_for=SLOT,
        spec=RunSpec(name="R", dashboards=()),
    )
    with db.transaction(pool) as conn:
        run_id = runs.insert(conn, new)
        restores.settle(conn)
    assert workshop.run(run_id).state == "missed"
