"""What the API's tests put in the place of Grafana, the workers and the clock.

Each has the signatures of what it stands for.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from flask.testing import FlaskClient

from shared.errors import DashboardForbidden, DashboardNotFound, SettingsError
from shared.grafana import CallerUnknown, Credentials, Dashboard, GrafanaSilent, User

NOW = dt.datetime(2026, 3, 4, 10, 30, tzinfo=dt.UTC)


class FakeGrafana:
    """Knows the dashboards it is given; a uid may stand for an error instead.

    `meanwhile` is what happens while it is asked. `accounts` are the organisations whose service
    account's token is known; `people` are who may ask as themselves, by their `Authorization`.
    """

    def __init__(self) -> None:
        self.accounts = {1}
        self.people: dict[str, Person] = {}
        self.away = False
        self.dashboards_asked_as: list[tuple[str, int | None]] = []
        self.known: dict[str, str | Exception] = {"7MeksYbmk": "Alerting with TestData", "x": "X"}
        self.asked: list[str] = []
        self.meanwhile: Callable[[], object] = lambda: None

    def dashboard(self, uid: str) -> Dashboard:
        self.asked.append(uid)
        self.meanwhile()
        found = self.known.get(uid, DashboardNotFound(f"Dashboard not found: {uid}"))
        if isinstance(found, Exception):
            raise found
        return Dashboard(uid=uid, id=463, title=found, model={})

    def of_org(self, org_id: int) -> FakeGrafana:
        if org_id not in self.accounts:
            raise SettingsError(f"There is no service account token of organisation {org_id}")
        return self

    def as_caller(self, credentials: Credentials) -> FakeCaller:
        return FakeCaller(self, credentials)


@dataclass(kw_only=True)
class Person:
    """Somebody whom Grafana knows: a user with roles by org, or (no `id`) a service account."""

    id: int = 0
    login: str = ""
    roles: dict[int, str] = field(default_factory=dict)
    is_server_admin: bool = False
    home: int = 1
    permissions: dict[str, list[str]] = field(default_factory=dict)
    page: dict[str, Any] = field(default_factory=dict)
    #: Dashboards that this one may not see.
    unseen: set[str] = field(default_factory=set)


class FakeCaller:
    """Grafana as one of its people sees it."""

    def __init__(self, grafana: FakeGrafana, credentials: Credentials) -> None:
        self.grafana = grafana
        self.credentials = credentials

    def _person(self) -> Person:
        self.grafana.asked.append("who")
        if self.grafana.away:
            raise GrafanaSilent
        person = self.grafana.people.get(self.credentials.authorization)
        if person is None:
            raise CallerUnknown("invalid username or password")
        return person

    def user(self) -> User | None:
        person = self._person()
        if not person.id:
            return None
        return User(
            id=person.id,
            login=person.login,
            org_id=person.home,
            is_server_admin=person.is_server_admin,
        )

    def roles(self) -> Mapping[int, str]:
        return self._person().roles

    def org(self) -> tuple[int, str]:
        return self._person().home, "An org"

    def permissions(self) -> Mapping[str, list[str]]:
        return self._person().permissions

    def boot_user(self) -> Mapping[str, Any]:
        return self._person().page

    def dashboard(self, uid: str) -> Dashboard:
        self.grafana.dashboards_asked_as.append((uid, self.credentials.org_id))
        if uid in self._person().unseen:
            raise DashboardForbidden(f"Access denied to this dashboard: {uid}")
        return self.grafana.dashboard(uid)


class FakeSlot:
    def __init__(self, waiter: FakeWaiter) -> None:
        self.waiter = waiter
        self.run_id = 0

    def expect(self, run_id: int) -> None:
        self.run_id = run_id

    def wait(self, timeout: float) -> bool:
        self.waiter.timeouts.append(timeout)
        return self.waiter.work(self.run_id)


class FakeWaiter:
    """Does the workers' part itself, by calling `work(run id)`, and never blocks."""

    def __init__(self, work: Callable[[int], bool]) -> None:
        self.work = work
        self.timeouts: list[float] = []

    @contextmanager
    def slot(self) -> Iterator[FakeSlot]:
        yield FakeSlot(self)


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> dt.datetime:
        return self.time


class Caller:
    """A test client that sends a token, JSON, and shows answers as (status, JSON)."""

    def __init__(self, client: FlaskClient, secret: str | None) -> None:
        self.client = client
        """Send `secret` as a bearer's, unless it says itself what it is."""
        shown = secret if secret and " " in secret else f"Bearer {secret}"
        self.headers = {"Authorization": shown} if secret else {}

    def __call__(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        answer = self.ask(method, path, body, **more)
        return answer.status_code, answer.get_json(silent=True)

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        headers = {**self.headers, **more.pop("headers", {})}
        if isinstance(body, str | bytes):
            more.setdefault("content_type", "application/json")
            return self.client.open(path, method=method, data=body, headers=headers, **more)
        if body is not None:
            more["json"] = body
        return self.client.open(path, method=method, headers=headers, **more)


def report_body(**changes: Any) -> dict[str, Any]:
    """What Terraform sends for its smallest report, with `changes`."""
    body: Mapping[str, Any] = {
        "dashboards": [{"dashboard": {"uid": "x"}, "reportVariables": {}, "timeRange": {}}],
        "enableDashboardUrl": True,
        "formats": ["pdf"],
        "name": "my report",
        "options": {"layout": "grid", "orientation": "landscape"},
        "recipients": "some@email.com",
        "schedule": {"frequency": "hourly", "timeZone": "GMT"},
    }
    return {name: value for name, value in {**body, **changes}.items() if value is not ...}
