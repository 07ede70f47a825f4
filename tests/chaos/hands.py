"""People who edit, pause, resume, cancel and resolve meanwhile, and what they were told.

Each notes when it asked and what it was answered. An answer that did not come leaves open whether
the change was made, also later; what was acknowledged must hold from then on.
"""

from __future__ import annotations

import datetime as dt
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx

from tests.chaos.field import ABROAD, HOME, Field
from tests.chaos.load import Expected, client

#: Between two tries of the same change, and between two looks at what is unknown.
PAUSE, RESOLVE_EVERY = 0.5, 2.0
#: What clocks and whole seconds may differ by.
SLACK = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request for a change, at times of the wall clock; status 0: it was not answered."""

    verb: str
    begun: float
    ended: float
    status: int
    #: The version of an edit, or the number of what was cancelled or resolved.
    number: int = 0

    @property
    def done(self) -> bool:
        """Whether it was acknowledged."""
        return self.status == 200

    @property
    def doubtful(self) -> bool:
        """Whether it may have been done all the same, then or later."""
        return self.status == 0 or self.status >= 500


class Hands:
    """All of them, on threads of their own from `start` to `stop`."""

    def __init__(self, field: Field, seed: int, reports: Sequence[Expected]) -> None:
        self._field = field
        self._ended = threading.Event()
        self._chance = random.Random(f"{seed} hands")
        #: By report.
        self.asks: dict[int, list[Ask]] = {report.report_id: [] for report in reports}
        self.resolved: list[Ask] = []
        #: What another organisation asked for, which must be told that it is not there.
        self.strangers: list[Ask] = []
        acts: Mapping[str, Callable[[Expected, random.Random], None]] = {
            "edit": self._edit,
            "pause": self._pause,
            "cancel": self._cancel,
        }
        self._threads = [
            threading.Thread(
                target=acts[report.act],
                args=(report, random.Random(f"{seed} {report.report_id}")),
                name=f"{report.act} {report.report_id}",
            )
            for report in reports
            if report.act
        ]
        self._threads.append(threading.Thread(target=self._resolve, name="resolve"))

    def start(self) -> None:
        """Begin; each acts around the slot of its report."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Change nothing any more."""
        self._ended.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    # -- what each does ---------------------------------------------------------------------

    def _edit(self, report: Expected, chance: random.Random) -> None:
        times = sorted(chance.uniform(-3.0, 2.0) for _ in range(chance.randint(2, 4)))
        for version, ahead in enumerate(times, 1):
            if self._ended.wait(_until(report, ahead)):
                return
            body = {**report.body, "recipients": ",".join(report.of_version(version))}
            self._insist(report, "edit", "PUT", f"/api/reports/{report.report_id}", body, version)

    def _pause(self, report: Expected, chance: random.Random) -> None:
        ahead = chance.uniform(-3.0, 1.0)
        if self._ended.wait(_until(report, ahead)):
            return
        self._insist(report, "pause", "POST", f"/api/reports/{report.report_id}/pause")
        if chance.random() < 0.5 and not self._ended.wait(chance.uniform(0.2, 3.0)):
            self._insist(report, "resume", "POST", f"/api/reports/{report.report_id}/resume")

    def _cancel(self, report: Expected, chance: random.Random) -> None:
        if self._ended.wait(_until(report, chance.uniform(0.1, 3.0))):
            return
        while not self._ended.wait(PAUSE):
            with suppress(httpx.HTTPError, ValueError), client(self._field) as api:
                answer = api.get(f"/api/reports/{report.report_id}/runs?kind=schedule")
                if answer.status_code == 200 and answer.json():
                    number = int(answer.json()[0]["id"])
                    path = f"/api/reports/runs/{number}/cancel"
                    self.strangers.append(
                        self._ask("cancel", "POST", path, number=number, by=ABROAD)
                    )
                    self._insist(report, "cancel", "POST", path, number=number)
                    return

    def _insist(
        self,
        report: Expected,
        verb: str,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        number: int = 0,
    ) -> None:
        """Ask until there is an answer, be it yes or no."""
        while True:
            ask = self._ask(verb, method, path, body, number)
            self.asks[report.report_id].append(ask)
            if not ask.doubtful or self._ended.wait(PAUSE):
                return

    def _ask(
        self,
        verb: str,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        number: int = 0,
        *,
        by: int = HOME,
    ) -> Ask:
        begun, status = time.time(), 0
        with suppress(httpx.HTTPError), client(self._field, by) as api:
            status = api.request(method, path, json=body).status_code
        return Ask(verb=verb, begun=begun, ended=time.time(), status=status, number=number)

    def _resolve(self) -> None:
        while not self._ended.wait(RESOLVE_EVERY):
            with suppress(httpx.HTTPError, ValueError), client(self._field) as api:
                answer = api.get("/api/reports/deliveries?state=unknown")
                # The others stay, for their reasons to be looked at in the end.
                mine = answer.json() if answer.status_code == 200 else []
                mine = [mail for mail in mine if mail["id"] % 2]
                if not mine:
                    continue
                found = self._chance.choice(mine)
                verdict = self._chance.choice(("sent", "again", "again"))
                path = f"/api/reports/runs/{found['runId']}/deliveries/{found['id']}/resolve"
                self.resolved.append(
                    self._ask(verdict, "POST", path, {"as": verdict}, int(found["id"]))
                )

    # -- what it means for the slot ------------------------------------------------------------

    def may_lack_run(self, report: Expected, slot: dt.datetime) -> bool:
        """Whether the report may have been paused when its slot came."""
        asks = self.asks[report.report_id]
        at = slot.timestamp()
        pauses = [ask for ask in asks if ask.verb == "pause" and ask.begun < at + SLACK]
        if not any(ask.done or ask.doubtful for ask in pauses):
            return False
        resumed = [ask for ask in asks if ask.verb == "resume" and ask.done]
        in_time = any(ask.ended < at - SLACK for ask in resumed)
        # A pause that was not answered may have come after the resumption.
        return not in_time or any(ask.doubtful for ask in pauses)

    def must_lack_run(self, report: Expected, slot: dt.datetime) -> bool:
        """Whether the report was surely paused when its slot came."""
        asks = self.asks[report.report_id]
        at = slot.timestamp()
        paused = any(ask.verb == "pause" and ask.done and ask.ended < at for ask in asks)
        resumed = any(ask.verb == "resume" and ask.begun < at + SLACK for ask in asks)
        return paused and not resumed

    def explains_cancelled(self, report: Expected, run: Mapping[str, Any]) -> bool:
        """Whether somebody asked, before the run was cancelled, for what cancels it."""
        ended = run["finished_at"].timestamp()
        return any(
            ask.begun < ended
            and (ask.done or ask.doubtful)
            and (ask.verb == "pause" or (ask.verb == "cancel" and ask.number == run["id"]))
            for ask in self.asks[report.report_id]
        )

    def is_cancelled(self, report: Expected, run: Mapping[str, Any]) -> bool:
        """Whether somebody was told that the run is cancelled."""
        return any(
            ask.verb == "cancel" and ask.done and ask.number == run["id"]
            for ask in self.asks[report.report_id]
        )

    def versions(self, report: Expected, run: Mapping[str, Any]) -> tuple[int, set[int]]:
        """Return the oldest version of the report that the run may show, and all that it may."""
        made = run["created_at"].timestamp()
        edits = [ask for ask in self.asks[report.report_id] if ask.verb == "edit"]
        least = max((ask.number for ask in edits if ask.done and ask.ended < made), default=0)
        begun = {ask.number for ask in edits if ask.begun < made and (ask.done or ask.doubtful)}
        # A try that was not answered may have been made after a later version's.
        late = {ask.number for ask in edits if ask.doubtful and ask.begun < made}
        return least, {number for number in {0, *begun} if number >= least} | late


def _until(report: Expected, ahead: float) -> float:
    """Seconds until so long after the report's slot."""
    return max(0.0, report.slots[0].timestamp() + ahead - time.time())
