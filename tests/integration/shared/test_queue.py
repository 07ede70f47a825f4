from __future__ import annotations

import celery
import pytest

from deploy.local import services
from shared import db, queue, tasks
from shared.queue import Bell
from shared.settings import Settings
from shared.tasks import Ring
from tests.fakes import RecordingBell
from tests.integration.shared.test_tasks import new_run


@pytest.fixture
def app(settings: Settings) -> celery.Celery:
    return queue.make_celery("tests", settings)


def heard(app: celery.Celery, name: str) -> list[int]:
    """Take all messages of a queue, in the order in which a worker would; return their ids."""
    found = []
    with app.connection_for_read() as connection, connection.channel() as channel:
        while message := channel.basic_get(name, no_ack=True):
            args, _, _ = message.payload
            found += args
    return found


def test_what_a_person_waits_for_has_a_queue_that_a_pool_may_be_there_for_alone(
    app: celery.Celery,
) -> None:
    rings = [Ring(1, "render", "scheduled"), Ring(2, "render", "interactive")]
    assert Bell(app).ring(rings) == [1, 2]
    assert heard(app, queue.RESERVED[queue.RENDER]) == [2]
    assert heard(app, queue.RENDER) == [1]


def test_what_nobody_came_for_is_rung_for_where_all_listen_and_still_goes_first(
    app: celery.Celery,
) -> None:
    rings = [Ring(1, "render", "scheduled"), Ring(2, "render", "interactive")]
    assert Bell(app).ring(rings, again=True) == [1, 2]
    assert heard(app, queue.RENDER) == [2, 1]
    # A pool that is there for it alone may have become free meanwhile.
    assert heard(app, queue.RESERVED[queue.RENDER]) == [2]


def test_mail_has_a_queue_of_its_own_so_that_its_server_holds_up_no_document(
    app: celery.Celery,
) -> None:
    rings = [Ring(1, "render", "scheduled"), Ring(2, "deliver", "scheduled")]
    Bell(app).ring([*rings, Ring(3, "assemble", "scheduled")])
    assert heard(app, queue.DELIVER) == [2]
    # A run that is rendered is assembled before the next one is begun.
    assert heard(app, queue.RENDER) == [3, 1]


def test_who_looks_at_a_message_sees_what_it_is_about_and_the_worker_gets_the_id_only(
    app: celery.Celery,
) -> None:
    Bell(app).ring([Ring(8, "deliver", "scheduled", run_id=3, delivery_id=5)])
    with app.connection_for_read() as connection, connection.channel() as channel:
        message = channel.basic_get(queue.DELIVER, no_ack=True)
    assert message.headers["task"] == "broadsheet.deliver"
    assert message.headers["argsrepr"] == "8 (run 3, delivery 5)"
    assert message.payload[:2] == [[8], {}]
    assert Ring(8, "render", "scheduled").about == "8"


def test_a_broker_that_is_away_loses_no_task_and_raises_nothing(
    settings: Settings, environ: dict[str, str]
) -> None:
    away = f"redis://127.0.0.1:{services.free_port()}/0"
    gone = Settings.from_environment({**environ, "BROADSHEET_REDIS_URL": away})
    assert Bell(queue.make_celery("tests", gone)).ring([Ring(1, "render", "scheduled")]) == []


def test_announcing_marks_what_was_rung_so_that_beat_does_not_ring_too(pool: db.Pool) -> None:
    _, rings = new_run(pool)
    bell = RecordingBell()
    queue.announce(pool, bell, rings)
    with db.transaction(pool) as conn:
        assert tasks.take_unheard(conn, tasks.RENDER) == []


def test_a_broker_that_was_emptied_is_told_of_once(app: celery.Celery) -> None:
    bell = Bell(app)
    bell.forgot()
    assert not bell.forgot()
    with app.connection_for_write() as connection:
        connection.default_channel.client.flushall()
    assert [bell.forgot(), bell.forgot()] == [True, False]


def test_a_broker_that_is_away_has_forgotten_nothing_yet(
    settings: Settings, environ: dict[str, str]
) -> None:
    away = f"redis://127.0.0.1:{services.free_port()}/0"
    gone = Settings.from_environment({**environ, "BROADSHEET_REDIS_URL": away})
    assert not Bell(queue.make_celery("tests", gone)).forgot()
