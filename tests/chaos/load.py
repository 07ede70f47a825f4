"""The work during the chaos: reports with slots spread over it, and callers who send at once.

What has to come of it is computed here from what was asked for, never from what the database
says: the slots of these rules can be told without the product's own arithmetic.
"""

from __future__ import annotations

import datetime as dt
import random
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.chaos.field import HOME, Field

DASHBOARDS = ("small", "nodes", "orders")
HOUR = dt.timedelta(hours=1)
#: Reports per second of the run, and calls that send at once.
REPORTS, SENDS = 0.5, 0.12
#: Of the reports, so many are in the hands of somebody who changes them.
ACTS = {"": 60, "edit": 16, "pause": 12, "cancel": 12}
#: The first slot lies so long after the reports are made; the last so long before the end.
HEAD, TAIL = 4.0, 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A report that was made, with the slots that lie in the run."""

    report_id: int
    slots: tuple[dt.datetime, ...]
    recipients: tuple[str, ...]
    #: What somebody does to it around its slot: "edit", "pause", "cancel", or nothing.
    act: str
    body: Mapping[str, Any]

    def of_version(self, version: int) -> tuple[str, ...]:
        """Return to whom it goes after so many edits: by them a mail tells what it was made of."""
        if not version:
            return self.recipients
        return tuple(f"v{version}-{recipient}" for recipient in self.recipients)


@dataclass(slots=True, kw_only=True)
class Sending:
    """A call that sends a report at once; it is repeated with its key until it was answered."""

    key: str
    report_id: int
    recipients: tuple[str, ...]
    tries: int = 0
    #: The last answer's status; 0: there was none yet.
    status: int = 0
    answers: list[int] = field(default_factory=list)


def make_reports(field: Field, seed: int, seconds: float) -> list[Expected]:
    """Make the reports through the API, before anything is broken."""
    chance = random.Random(f"{seed} load")
    begun = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(seconds=1)
    made: list[Expected] = []
    last: tuple[dt.datetime, str] | None = None
    with client(field) as api:
        for number in range(max(4, round(seconds * REPORTS))):
            ahead = chance.uniform(HEAD, max(HEAD + 1, seconds - TAIL))
            slot = begun + dt.timedelta(seconds=round(ahead))
            uid = chance.choice(DASHBOARDS)
            if last and chance.random() < 0.4:
                # Another with the same dashboard and slot: their captures are one.
                slot, uid = last
            rule, slots = _rule(chance, slot, begun + dt.timedelta(seconds=seconds))
            last = (slot, uid)
            recipients = tuple(f"r{number}-{n}@example.com" for n in range(chance.randint(1, 3)))
            body = {
                "name": f"Chaos {number}",
                "recipients": ",".join(recipients),
                "schedule": {"timeZone": "UTC", **rule},
                "formats": ["pdf", "csv"] if chance.random() < 0.2 else ["pdf"],
                "dashboards": [{"dashboard": {"uid": uid}}],
            }
            answer = api.post("/api/reports", json=body).raise_for_status()
            expected = Expected(
                report_id=answer.json()["id"],
                slots=slots,
                recipients=recipients,
                act=chance.choices(list(ACTS), list(ACTS.values()))[0],
                body=body,
            )
            made.append(expected)
    return made


def _rule(
    chance: random.Random, slot: dt.datetime, end: dt.datetime
) -> tuple[dict[str, Any], tuple[dt.datetime, ...]]:
    """Return a rule with a slot at `slot`, and its slots from there on; it is over at `end`."""
    kind = chance.choice(("once", "once", "hourly", "custom"))
    if kind == "once":
        return {"frequency": "once", "startDate": slot.isoformat()}, (slot,)
    hours = 1 if kind == "hourly" else chance.randint(2, 5)
    rule: dict[str, Any] = {"frequency": kind}
    if kind == "custom":
        rule |= {"intervalFrequency": "hours", "intervalAmount": hours}
    start = slot - hours * HOUR * chance.randint(1, 9)
    # It ends with the run, so that what has to come of it is finite.
    rule |= {"startDate": start.isoformat(), "endDate": end.isoformat()}
    slots = []
    while slot <= end:
        slots.append(slot)
        slot += hours * HOUR
    return rule, tuple(slots)


class Callers:
    """People who send reports at once, from threads of their own, and insist on an answer."""

    def __init__(
        self, field: Field, seed: int, seconds: float, reports: Sequence[Expected]
    ) -> None:
        self._field = field
        self._ended = threading.Event()
        chance = random.Random(f"{seed} callers")
        chosen = [chance.choice(reports) for _ in range(max(2, round(seconds * SENDS)))]
        self.sendings = [
            Sending(
                key=f"chaos-{seed}-{number}",
                report_id=report.report_id,
                recipients=tuple(f"s{number}-{n}@example.com" for n in range(chance.randint(1, 2))),
            )
            for number, report in enumerate(chosen)
        ]
        delays = [chance.uniform(1, seconds - TAIL) for _ in self.sendings]
        self._threads = [
            threading.Thread(target=self._insist, args=(sending, delay), name=sending.key)
            for sending, delay in zip(self.sendings, delays, strict=True)
        ]

    def start(self) -> None:
        """Begin; each calls after a while of its own."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float) -> None:
        """Wait until all were answered, and after `timeout` seconds for no answer any more."""
        deadline = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=timeout)
        for thread in self._threads:
            thread.join(max(0.0, (deadline - dt.datetime.now(dt.UTC)).total_seconds()))
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _insist(self, sending: Sending, delay: float) -> None:
        if self._ended.wait(delay):
            return
        body = {"id": str(sending.report_id), "emails": ",".join(sending.recipients)}
        headers = {"Idempotency-Key": sending.key}
        while not self._ended.is_set():
            sending.tries += 1
            sending.status, said = self._call(body, headers)
            sending.answers.append(sending.status)
            # A 500 that names no run is about a Grafana that is away, and nothing was begun.
            over = sending.status == 200 or (sending.status == 500 and said.startswith("Run "))
            if over or self._ended.wait(1.0):
                return

    def _call(self, body: Mapping[str, str], headers: Mapping[str, str]) -> tuple[int, str]:
        with suppress(httpx.HTTPError, ValueError), client(self._field) as api:
            answer = api.post("/api/reports/email", json=body, headers=headers)
            return answer.status_code, str(answer.json().get("message", ""))
        return 0, ""


def client(field: Field, org_id: int = HOME) -> httpx.Client:
    """Return a client of the API with the token of an organisation."""
    return httpx.Client(
        base_url=field.api_url,
        headers={"Authorization": f"Bearer {field.tokens[org_id]}"},
        timeout=20,
    )
