"""What to do about a due report: pure, so that every case of lateness can be written down."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from shared import schedule
from shared.schedule import Schedule

#: Later than this is late, and the mail says so.
PUNCTUAL = dt.timedelta(seconds=60)
#: How many missed slots are written down one by one.
MISSED_ROWS = 50


@dataclass(frozen=True, slots=True)
class Plan:
    """`slot` is to be run now (None: none, too late); `missed` passed without a run."""

    slot: dt.datetime | None
    late: bool
    missed: Sequence[dt.datetime]
    next_run_at: dt.datetime | None


def plan(rule: Schedule, due: dt.datetime, now: dt.datetime, catchup: dt.timedelta) -> Plan:
    """Decide about a report that was due at `due`, at or before `now`.

    One run for the latest slot that has passed, if it is not older than `catchup`; those
    between `due` and it have been missed, of which the newest are listed.
    """
    latest = schedule.latest_until(rule, now)
    if latest is None or latest < due:
        # The rule was changed under the cached slot; the edit has set a new one or will.
        latest = due
    just_before = dt.timedelta(microseconds=1)
    missed = schedule.slots_between(rule, due - just_before, latest - just_before, MISSED_ROWS)
    following = schedule.next_after(rule, max(latest, now))
    if now - latest > catchup:
        return Plan(None, late=True, missed=[*missed, latest], next_run_at=following)
    return Plan(latest, late=now - latest > PUNCTUAL, missed=missed, next_run_at=following)
