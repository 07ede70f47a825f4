"""Broadsheet as real processes, seen from outside: its API, and what arrives in an inbox."""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

from deploy.local.grafana.server import StandIn
from deploy.local.inbox import Inbox
from deploy.local.stack import Stack

T = TypeVar("T")
LOOK = 0.05
FINAL = {"sent", "partial", "failed", "missed", "skipped", "cancelled"}


def eventually(look: Callable[[], T | None], *, within: float, what: str) -> T:
    """Return what `look` finds as soon as it finds something."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(LOOK)
    raise AssertionError(f"{what}: not within {within:.0f} s")


class Service:
    """A running stack as a caller of its API has it, with an inbox that this test commands."""

    def __init__(self, stack: Stack, inbox: Inbox) -> None:
        self.stack = stack
        self.inbox = inbox
        self.api = httpx.Client(
            base_url=stack.api_url,
            headers={"Authorization": f"Bearer {stack.token}"},
            timeout=30,
        )

    def create(self, name: str, *uids: str, recipients: str = "ada@example.com") -> int:
        """Create a report that is due once, in a moment; return its id."""
        slot = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1)
        body = {
            "name": name,
            "recipients": recipients,
            "schedule": {"frequency": "once", "startDate": slot.isoformat(), "timeZone": "UTC"},
            "formats": ["pdf"],
            "dashboards": [{"dashboard": {"uid": uid}} for uid in uids],
        }
        answer = self.api.post("/api/reports", json=body)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["id"])

    def run(self, report_id: int) -> dict[str, Any] | None:
        """The only run of the report, with all its parts; None while there is none."""
        listed = self.api.get(f"/api/reports/{report_id}/runs").raise_for_status().json()
        assert len(listed) <= 1
        if not listed:
            return None
        found: dict[str, Any] = self.api.get(listed[0]["href"]).raise_for_status().json()
        return found

    def wait_for(self, report_id: int, *states: str, within: float = 60) -> dict[str, Any]:
        """The run of the report as soon as it is in one of the states."""

        def look() -> dict[str, Any] | None:
            run = self.run(report_id)
            return run if run and run["state"] in states else None

        return eventually(look, within=within, what=f"report {report_id} {' or '.join(states)}")

    def ended(self, report_id: int, *, within: float = 60) -> dict[str, Any]:
        """The run of the report as soon as it has ended, however."""
        return self.wait_for(report_id, *FINAL, within=within)

    def mails(self, subject: str) -> list[Any]:
        """The mails with this subject, which is the report's name."""
        return [one for one in self.inbox.messages if one.message["Subject"] == subject]


@contextmanager
def serving(
    folder: Path,
    *,
    slots: int | None = None,
    grafana: StandIn | None = None,
    outside: Mapping[str, str] | None = None,
    **settings: str,
) -> Iterator[Service]:
    """Run a stack that sends its mail to an inbox of the test's own.

    `slots` are how many captures its worker takes at once; `grafana` takes the place of the
    stack's own stand-in. `outside` are variables that are not Broadsheet's own.
    """
    with Inbox(folder / "mail") as inbox:
        settings |= {"SMTP_PORT": str(inbox.port)}
        environ = clean_environ() | dict(outside or {})
        if grafana:
            environ |= {
                "BROADSHEET_GRAFANA_URL": grafana.url,
                "BROADSHEET_GRAFANA_TOKEN": grafana.token,
            }
        with Stack(folder / "log", environ=environ, settings=settings, slots=slots) as stack:
            service = Service(stack, inbox)
            yield service
            service.api.close()


def clean_environ() -> dict[str, str]:
    """The environment without a Grafana that the developer may have set, which would be used."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("BROADSHEET_") or name == "BROADSHEET_CHROMIUM"
    }
