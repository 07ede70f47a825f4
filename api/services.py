"""What the views work with, handed to `create_app` and reached through `services()`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from flask import current_app

from api.closed import Closed
from api.identity import identity
from api.waiter import Waiter
from shared import db
from shared.db import Connection, Pool
from shared.grafana import Grafana
from shared.queue import Bell
from shared.settings import Settings
from shared.storage import Storage

EXTENSION = "broadsheet"
#: The settings without which no request could be answered.
NEEDED = ("database_url", "redis_url", "grafana_url", "grafana_token")


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The outside of the API: everything that a test replaces by a fake of the same shape.

    `pool` sees every organisation; views for callers use `transaction()`.
    """

    settings: Settings
    pool: Pool
    bell: Bell
    grafana: Grafana
    waiter: Waiter
    clock: Callable[[], dt.datetime]
    storage: Storage
    #: Addresses whose credentials were wrong too often.
    closed: Closed = field(default_factory=Closed)

    def now(self) -> dt.datetime:
        """Read the clock, in whole seconds, as Grafana shows its times."""
        return self.clock().replace(microsecond=0)


def services() -> Services:
    """Return the services of the app that handles this request."""
    found: Services = current_app.extensions[EXTENSION]
    return found


@contextmanager
def transaction() -> Iterator[Connection]:
    """Yield a connection inside a transaction in which only the caller's organisation exists.

    Raises `DatabaseAway`.
    """
    with db.org_transaction(services().pool, identity().org_id) as conn:
        yield conn
