"""Names of queues and tasks, and the Celery settings that every process shares.

The broker is a doorbell: a message carries the id of a row in `task` and nothing else. Reasons
for each setting: they are the ones under which a lost or doubled message harms nothing and a
list's length in Redis is the true number of rings not yet heard.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import celery
from celery.exceptions import CeleryError
from kombu.exceptions import KombuError, OperationalError
from redis.exceptions import RedisError

from shared import db, log, tasks
from shared.db import Pool
from shared.settings import Settings
from shared.spec import LONGEST_RENDER
from shared.tasks import Ring

RENDER = "render"
DELIVER = "deliver"

#: Which queue hears the bell for which kind of task; the Celery task has the same name. Assembly
#: is not delivery's: a mail server that hangs must not keep a document from whoever asked for it.
QUEUES = {"render": RENDER, "assemble": RENDER, "deliver": DELIVER}
#: What a person waits for has a queue of its own beside each. Who listens to `render` listens to
#: this one as well, and first; a pool may also be there for it alone (`-Q render.interactive`), so
#: that not even captures that have begun are waited for.
RESERVED = {queue: f"{queue}.interactive" for queue in QUEUES.values()}
NAMES = frozenset({*RESERVED, *RESERVED.values()})
TASK_NAMES = {kind: f"broadsheet.{kind}" for kind in QUEUES}
#: Redis keeps a list per priority and reads 0 first: what a person waits for goes ahead, and a
#: run whose pages are there is assembled before the next one is begun.
INTERACTIVE, ASSEMBLY, SCHEDULED = 0, 3, 5


def queues_of(ring: Ring, *, again: bool) -> list[str]:
    """Return the queues to ring in; a second time in the common one as well.

    There everybody listens, also workers of an earlier release. A message too many does nothing.
    """
    common = QUEUES[ring.kind]
    if ring.lane != tasks.INTERACTIVE:
        return [common]
    return [RESERVED[common], common] if again else [RESERVED[common]]


def also(queues: Sequence[str]) -> list[str]:
    """Return what a worker of these queues listens to besides."""
    return [RESERVED[queue] for queue in queues if queue in RESERVED]


def priority(ring: Ring) -> int:
    """Return the priority that Redis keeps the message under; lower is heard first."""
    if ring.lane == tasks.INTERACTIVE:
        return INTERACTIVE
    return ASSEMBLY if ring.kind == "assemble" else SCHEDULED


#: The key that is there as long as Redis has forgotten nothing.
MARK = "kept"
#: Seconds that beat waits for a connection to the broker.
PATIENCE = 5.0

logger = log.get(__name__)


def make_celery(name: str, settings: Settings, *, include: Sequence[str] = ()) -> celery.Celery:
    """Return a Celery app with our settings; it connects when it first has to."""
    longest = max(settings.render_timeout, LONGEST_RENDER)
    app = celery.Celery(name, broker=settings.redis_url, include=list(include))
    app.conf.update(
        **CONFIGURATION,
        # Above the time that the most patient report's capture may take, which ends by itself.
        task_soft_time_limit=longest + settings.grafana_timeout + 150,
        task_time_limit=longest + settings.grafana_timeout + 180,
    )
    return app


CONFIGURATION: dict[str, Any] = {
    # The rows are the result.
    "task_ignore_result": True,
    "result_backend": None,
    "task_serializer": "json",
    "accept_content": ["json"],
    # Early acknowledgement and no prefetch: a message waits in Redis until a slot is free, and
    # a worker that dies is recovered by its lease in Postgres, not by a visibility timeout.
    "task_acks_late": False,
    "worker_disable_prefetch": True,
    "worker_prefetch_multiplier": 1,
    "task_reject_on_worker_lost": False,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_pool_acquire_timeout": 5,
    "task_publish_retry": False,
    "task_default_queue": DELIVER,
    "task_create_missing_queues": True,
    "worker_hijack_root_logger": False,
    "worker_send_task_events": False,
    "worker_proc_alive_timeout": 30,
    "broker_transport_options": {
        "global_keyprefix": "broadsheet:",
        "visibility_timeout": 3600,
        "priority_steps": [INTERACTIVE, ASSEMBLY, SCHEDULED],
        "queue_order_strategy": "priority",
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 25,
        # A ring that cannot be sent is made up by beat: say so at once, not after six seconds.
        "max_retries": 1,
        "interval_start": 0,
        "interval_step": 0.2,
    },
}


class Bell:
    """Rings for tasks whose rows are committed; a ring that fails is made up by beat."""

    def __init__(self, app: celery.Celery) -> None:
        self.app = app

    def forgot(self) -> bool:
        """Say whether the broker has lost what it held since anybody last asked.

        It keeps a mark, which goes with the rest when it is emptied or starts anew; who finds it
        gone sets it, so that of several who ask at once one is told. A broker that is away has
        forgotten nothing yet.
        """
        try:
            with self.app.pool.acquire(block=True, timeout=PATIENCE) as connection:
                return bool(connection.default_channel.client.set(MARK, "1", nx=True))
        except (KombuError, OperationalError, CeleryError, RedisError, OSError) as exc:
            logger.warning("bell.unheard", error=str(exc))
            return False

    def ring(self, rings: Sequence[Ring], *, again: bool = False) -> list[int]:
        """Publish a message per task; return the ids that were published.

        `again`: nobody came, so ring where everybody listens, too.

        Never raises for a broker that is away: the row stays unpublished and beat rings again.
        """
        rung: list[int] = []
        for ring in rings:
            try:
                for name in queues_of(ring, again=again):
                    self.app.send_task(
                        TASK_NAMES[ring.kind],
                        args=[ring.task_id],
                        # What Flower and Celery's events show; the worker gets the id only.
                        argsrepr=ring.about,
                        queue=name,
                        priority=priority(ring),
                        ignore_result=True,
                    )
            except (KombuError, OperationalError, CeleryError, OSError) as exc:
                logger.warning("bell.unheard", task_id=ring.task_id, error=str(exc))
                break
            rung.append(ring.task_id)
        return rung


def announce(pool: Pool, bell: Bell, rings: Sequence[Ring]) -> None:
    """Ring for tasks that were just committed, and note which messages went out.

    To be called after the commit, never inside the transaction that inserted them.
    """
    if not rings:
        return
    rung = bell.ring(rings)
    if rung:
        with db.transaction(pool) as conn:
            tasks.published(conn, rung)
