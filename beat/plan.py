"""What to do about a due report: pure, so that every case of lateness can be written down."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from shared import schedule
from shared.schedule import Schedule

#: How many missed slots are written down one by one.
MISSED_ROWS = 50


@dataclass(frozen=True, slots=True)
class Plan:
    """`slot` is to be run now (None: none); `missed` passed without a run.

    `more_missed`: so did slots before the first of `missed`.
    """

    slot: dt.datetime | None
    missed: Sequence[dt.datetime]
    more_missed: bool
    next_run_at: dt.datetime | None


def plan(rule: Schedule, due: dt.datetime, now: dt.datetime, catchup: dt.timedelta) -> Plan:
    """Decide about a report that was due at `due`, at or before `now`.

    One run for the latest slot that has passed, if it is not older than `catchup`; those
    between `due` and it have been missed, of which the newest are listed. Where the rule has no
    slot since `due` (the time zone's rules have changed), nothing is run.
    """
    latest, following = schedule.around(rule, now)
    if latest is None or latest < due:
        return Plan(None, missed=(), more_missed=False, next_run_at=following)
    just_before = dt.timedelta(microseconds=1)
    passed: list[dt.datetime] = []
    if latest > due:
        before = latest - just_before
        passed = schedule.slots_between(rule, due - just_before, before, MISSED_ROWS + 1)
    missed, more = passed[-MISSED_ROWS:], len(passed) > MISSED_ROWS
    if now - latest > catchup:
        return Plan(None, missed=[*missed, latest], more_missed=more, next_run_at=following)
    return Plan(latest, missed=missed, more_missed=more, next_run_at=following)
