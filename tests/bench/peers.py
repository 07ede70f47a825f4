"""Another scheduler measured, as a process of its own: `python -m tests.bench.peers NAME …`.

What is measured is the scheduler's own work: entries are taken from where it keeps them, found
due, advanced and stored, as it does by itself; only the message is not sent. It prints a line of
JSON after each step, so that what is cut off by the clock has still told how far it came.

All entries have an interval, the cheapest of Celery's schedules, and none needs a time zone.
"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

import celery
import psycopg
from celery.beat import ScheduleEntry, Scheduler
from celery.schedules import schedule

#: In seconds: an hour, so that nothing comes round twice within a bench.
EVERY = 3600
TASK = "bench.task"
#: RedBeat reads all that is due before it sends the first, so more would end with the clock.
MOST_AT_ONCE = 5_000


class _Enough(BaseException):
    """The time is over. No `Exception`, since schedulers catch those."""


class _Sent:
    """Counts messages instead of sending them."""

    def __init__(self) -> None:
        self.count = 0
        self.until = float("inf")
        self.id = "not sent"

    def __call__(self, *_: Any, **__: Any) -> _Sent:
        self.count += 1
        if time.monotonic() > self.until:
            raise _Enough
        return self


def main() -> None:
    """Load `number` entries, tick with nothing due, then with `due`; tell what each cost."""
    name, number, due, seconds, postgres_url, redis_url = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    make, package = PEERS[name]
    _tell(version=importlib.metadata.version(package))
    app = celery.Celery("bench", broker=redis_url, set_as_current=True)
    app.conf.update(result_expires=None, timezone="UTC")
    sent = _Sent()
    made = make(app, int(number), 0, postgres_url, redis_url)
    made.apply_async = sent
    begun = time.monotonic()
    made.tick()
    _tell(load=time.monotonic() - begun)
    _tell(idle=_tick_cost(made, float(seconds) / 4))

    rush = min(int(due), int(number), MOST_AT_ONCE if name == "redbeat" else int(due))
    made = make(app, int(number), rush, postgres_url, redis_url)
    made.apply_async = sent
    if name != "redbeat":
        # What it reads at its first tick was counted above.
        made.tick()
        sent.count = 0
    _tell(due=rush, **_rush(made, sent, float(seconds), rush))


def _tell(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def _tick_cost(made: Scheduler, seconds: float) -> float:
    """Return the seconds of one tick in which nothing is due, the best of a few."""
    costs: list[float] = []
    until = time.monotonic() + seconds
    while len(costs) < 5 and (not costs or time.monotonic() < until):
        begun = time.monotonic()
        made.tick()
        costs.append(time.monotonic() - begun)
    return min(costs)


def _rush(made: Scheduler, sent: _Sent, seconds: float, due: int) -> dict[str, float]:
    begun = time.monotonic()
    sent.until = begun + seconds
    try:
        while sent.count < due - 1 and time.monotonic() < sent.until:
            before = sent.count
            made.tick()
            if sent.count == before:
                break
        made.sync()
    except _Enough:
        pass
    return {"claims": sent.count, "seconds": time.monotonic() - begun}


def _last_run(position: int, due: int) -> dt.datetime:
    """When an entry ran last: the first `due` of them long ago, the others just now."""
    return dt.datetime.now(dt.UTC) - dt.timedelta(seconds=2 * EVERY if position < due else 0)


def _stock(app: celery.Celery, number: int, due: int, *_: str) -> Scheduler:
    made = Scheduler(app, lazy=True)
    hourly = schedule(EVERY, app=app)
    for position in range(number):
        name = f"report {position}"
        made.data[name] = ScheduleEntry(
            name=name,
            task=TASK,
            schedule=hourly,
            last_run_at=_last_run(position, due),
            app=app,
        )
    made.schedule = made.data
    return made


FILL_REDBEAT = """
for n = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local key = 'redbeat:report ' .. n
  redis.call('HSET', key, 'definition', string.gsub(ARGV[3], 'NUMBER', n, 1), 'meta', ARGV[4])
  redis.call('ZADD', 'redbeat::schedule', ARGV[5], key)
end
"""


def _redbeat(app: celery.Celery, number: int, due: int, _: str, redis_url: str) -> Scheduler:
    import redbeat
    import redis
    from redbeat.decoder import RedBeatJSONEncoder

    client = redis.Redis.from_url(redis_url, socket_timeout=60)
    client.flushall(asynchronous=True)
    definition = {
        "name": "report NUMBER",
        "task": TASK,
        "args": [],
        "kwargs": {},
        "options": {},
        "schedule": schedule(EVERY, app=app),
        "enabled": True,
    }
    for first, last in ((0, due - 1), (due, number - 1)):
        ran = _last_run(first, due)
        meta = json.dumps({"last_run_at": ran}, cls=RedBeatJSONEncoder)
        text = json.dumps(definition, cls=RedBeatJSONEncoder)
        for start in range(first, last + 1, 10_000):
            end = min(start + 9_999, last)
            client.eval(FILL_REDBEAT, 0, start, end, text, meta, ran.timestamp() + EVERY)
    app.conf.redbeat_redis_url = redis_url
    app.conf.redbeat_lock_key = None
    return redbeat.RedBeatScheduler(app)


FILL_DJANGO = """
INSERT INTO django_celery_beat_periodictask (name, task, interval_id, args, kwargs, headers,
    enabled, total_run_count, one_off, description, date_changed, last_run_at)
SELECT 'report ' || n, %(task)s, %(interval)s, '[]', '{}', '{}', true, 0, false, '', now(),
    now() - CASE WHEN n < %(due)s THEN %(long)s ELSE 0 END * interval '1 second'
  FROM generate_series(0, %(number)s - 1) AS n
"""


def _django(app: celery.Celery, number: int, due: int, postgres_url: str, _: str) -> Scheduler:
    import django
    from django.conf import settings

    if not settings.configured:
        folder = psycopg.conninfo.conninfo_to_dict(postgres_url)["host"]
        database = {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres"}
        settings.configure(
            INSTALLED_APPS=["django_celery_beat"],
            DATABASES={"default": {**database, "USER": "postgres", "HOST": folder}},
            USE_TZ=True,
            TIME_ZONE="UTC",
        )
        django.setup()
    from django.core.management import call_command
    from django_celery_beat.models import IntervalSchedule
    from django_celery_beat.schedulers import DatabaseScheduler

    call_command("migrate", verbosity=0)
    interval, _made = IntervalSchedule.objects.get_or_create(every=EVERY, period="seconds")
    values = {"task": TASK, "interval": interval.id, "due": due, "long": 2 * EVERY}
    with psycopg.connect(postgres_url, autocommit=True) as conn:
        conn.execute("TRUNCATE django_celery_beat_periodictask CASCADE")
        conn.execute(FILL_DJANGO, {**values, "number": number})
        conn.execute("ANALYZE django_celery_beat_periodictask")
    return DatabaseScheduler(app=app)


FILL_SQLALCHEMY = """
INSERT INTO celery_schema.celery_periodictask (name, task, args, kwargs, headers, one_off,
    enabled, total_run_count, date_changed, description, discriminator, schedule_id, last_run_at)
SELECT 'report ' || n, %(task)s, '[]', '{}', '{}', false, true, 0, now(), '',
    'intervalschedule', %(interval)s,
    now() - CASE WHEN n < %(due)s THEN %(long)s ELSE 0 END * interval '1 second'
  FROM generate_series(0, %(number)s - 1) AS n
"""


def _sqlalchemy(app: celery.Celery, number: int, due: int, postgres_url: str, _: str) -> Scheduler:
    from sqlalchemy_celery_beat.models import IntervalSchedule, Period
    from sqlalchemy_celery_beat.schedulers import DatabaseScheduler
    from sqlalchemy_celery_beat.session import SessionManager

    address = postgres_url.replace("postgresql://", "postgresql+psycopg://")
    with psycopg.connect(postgres_url, autocommit=True) as conn:
        conn.execute("CREATE SCHEMA IF NOT EXISTS celery_schema")
    manager = SessionManager()
    engine, make_session = manager.create_session(address, schema="celery_schema")
    manager.prepare_models(engine, schema="celery_schema")
    with make_session() as session:
        interval = session.query(IntervalSchedule).first()
        if interval is None:
            interval = IntervalSchedule(every=EVERY, period=Period.SECONDS)
            session.add(interval)
            session.commit()
        values = {"task": TASK, "interval": interval.id, "due": due, "long": 2 * EVERY}
    with psycopg.connect(postgres_url, autocommit=True) as conn:
        conn.execute("TRUNCATE celery_schema.celery_periodictask CASCADE")
        conn.execute(FILL_SQLALCHEMY, {**values, "number": number})
        conn.execute("ANALYZE celery_schema.celery_periodictask")
    app.conf.update(beat_dburi=address, beat_schema="celery_schema")
    return DatabaseScheduler(app=app)


Make = Callable[[celery.Celery, int, int, str, str], Scheduler]
PEERS: dict[str, tuple[Make, str]] = {
    "celery": (_stock, "celery"),
    "redbeat": (_redbeat, "celery-redbeat"),
    "django-celery-beat": (_django, "django-celery-beat"),
    "sqlalchemy-celery-beat": (_sqlalchemy, "sqlalchemy-celery-beat"),
}


if __name__ == "__main__":
    main()
