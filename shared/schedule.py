"""Schedule arithmetic: which instants a report's rule names.

Pure: no clock, no I/O; every instant is an argument, every slot is aware UTC. What the rules mean:

- Days, weeks and months are counted on the wall clock of the schedule's zone. A local time inside a
  gap moves forward by the gap, one that occurs twice means the first (RFC 5545, 3.3.5). RFC 5545
  3.3.10 would drop the former; we do not, so that a daily report is sent on every local day.
- Hours are elapsed hours from the start, so no hour repeats and none is left out; the price is that
  "every 6 hours" moves by an hour on the clock when the offset changes.
- The days 29 to 31 exist only in the months that have them (Grafana's documentation of monthly
  reports); "last" is the last day of every month, said by frequency or by `dayOfMonth`.
- `workdaysOnly` keeps the slots whose local date is Monday to Friday.

Each rule numbers its candidates 0, 1, 2, … from the start, and a candidate may turn out to be no
slot (no 31st in this month, a Sunday). Searching means dividing to the right number and looking at
a bounded few beside it, so the age of a schedule costs nothing.
"""

import hashlib
import re
from calendar import monthrange
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

FREQUENCIES = ("once", "hourly", "daily", "weekly", "monthly", "last", "custom", "never")
INTERVALS = ("hours", "days", "weeks", "months")
MAX_INTERVAL_AMOUNT = 10_000

_INTERVAL_OF = {
    "hourly": "hours",
    "daily": "days",
    "weekly": "weeks",
    "monthly": "months",
    "last": "months",
}
_HEED_WORKDAYS = ("hourly", "daily", "custom")
_SATURDAY = 5
_LAST_DAY = 0
_FIRST_INSTANT = datetime.min.replace(tzinfo=UTC)
_TICK = timedelta(microseconds=1)

# The longest runs of candidates without a slot, for rules that do fire: 188 for months (every 676
# on the 31st, workdays only; every interval was tried over the calendar's 400 years), 49 for the
# hours of a weekend, and under 300 for multiples of 168 hours that reach a workday only while
# summer time moves them past midnight.
_LONGEST_RUN = 400

_DAY_OF_MONTH = re.compile(r"[1-9]|[12][0-9]|3[01]")
_ZONE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")
# Entries of a zone directory that are no place: a machine's own zone, leap-second variants.
_NO_PLACE = re.compile(r"(posix|right)/.*|posixrules|localtime|Factory")


class InvalidSchedule(ValueError):
    """The schedule cannot be used; `field` is its name in the API, `message` a sentence."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(field, message)
        self.field = field
        self.message = message

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A report's rule, in the API's terms. `start` and `end` are aware, and both inclusive."""

    frequency: str
    time_zone: str = "GMT"
    start: datetime | None = None
    end: datetime | None = None
    interval_frequency: str = ""
    interval_amount: int = 0
    workdays_only: bool = False
    day_of_month: str = ""


def check(schedule: Schedule) -> None:
    """Raise `InvalidSchedule` unless the rule is well-formed and names at least one slot.

    That all its slots are past is no fault: a report that ended in 2020 is a legal one.
    """
    if _rule(schedule) is None:
        return
    if schedule.end is not None and schedule.start is not None and schedule.end < schedule.start:
        raise InvalidSchedule(
            field="schedule.endDate", message="The end date lies before the start date."
        )
    if next_after(schedule, _FIRST_INSTANT) is not None:
        return
    if next_after(replace(schedule, end=None), _FIRST_INSTANT) is not None:
        message = "The schedule ends before it is due for the first time."
        raise InvalidSchedule(field="schedule.endDate", message=message)
    if schedule.workdays_only:
        message = "This interval from this start date never falls on a day from Monday to Friday."
        raise InvalidSchedule(field="schedule.workdaysOnly", message=message)
    message = "From this start date the schedule is never due."
    raise InvalidSchedule(field="schedule.startDate", message=message)


def next_after(schedule: Schedule, after: datetime) -> datetime | None:
    """Give the first slot strictly after `after`; None when the rule is over, or `never`.

    The start is itself the first slot when the rule matches it, exactly as given, even in the
    second pass of an hour that occurs twice. Raises `InvalidSchedule` for a malformed rule.
    """
    rule = _rule(schedule)
    if rule is None:
        return None
    lowest = max(0, rule.number_at(as_utc(after)) - 1)
    for number in range(lowest, lowest + _LONGEST_RUN):
        slot = rule.slot(number)
        if slot is not None and slot > after:
            return None if schedule.end is not None and slot > schedule.end else slot
    return None


def latest_until(schedule: Schedule, until: datetime) -> datetime | None:
    """Give the last slot at or before `until`; None when there is none yet."""
    rule = _rule(schedule)
    if rule is None:
        return None
    until = as_utc(until if schedule.end is None else min(until, schedule.end))
    highest = rule.number_at(until) + 1
    for number in range(highest, max(-1, highest - _LONGEST_RUN), -1):
        slot = rule.slot(number)
        if slot is not None and slot <= until:
            return slot
    return None


def around(schedule: Schedule, now: datetime) -> tuple[datetime | None, datetime | None]:
    """Give the last slot at or before `now` and the first one after it.

    What `latest_until` and `next_after` say, in half the time: beat asks it of every report that
    is due, and preparing the rule is most of the work.
    """
    rule = _rule(schedule)
    if rule is None:
        return None, None
    if rule.workdays_only or schedule.end is not None:
        return latest_until(schedule, now), next_after(schedule, now)
    number = rule.number_at(as_utc(now))
    # Candidates side by side: where one is a slot and passed and the next one is to come, no
    # other lies between.
    slots = [rule.slot(candidate) for candidate in range(max(0, number - 1), number + 3)]
    for passed, coming in pairwise(slots):
        if passed is not None and coming is not None and passed <= now < coming:
            return passed, coming
    return latest_until(schedule, now), next_after(schedule, now)


def slots_between(
    schedule: Schedule, after: datetime, until: datetime, limit: int
) -> list[datetime]:
    """Give the slots in (after, until], ascending; of more than `limit` the newest.

    The work grows with `limit`, not with the length of the period.
    """
    slots: list[datetime] = []
    while len(slots) < limit and (slot := latest_until(schedule, until)) is not None:
        if slot <= after:
            break
        slots.append(slot)
        until = slot - _TICK
    return slots[::-1]


def occurrences(schedule: Schedule, after: datetime, count: int) -> list[datetime]:
    """Give the next `count` slots strictly after `after`, fewer if the rule ends."""
    slots: list[datetime] = []
    while len(slots) < count and (slot := next_after(schedule, after)) is not None:
        slots.append(slot)
        after = slot
    return slots


def aside(report_id: int, slot: datetime, following: datetime | None, window: float) -> float:
    """Return how many seconds of `window` after its slot a report begins that spreads its slots.

    A hash, not a random number: the same at every attempt, by every beat, and other reports
    have others. Never later than half-way to the next slot, which it would be in the way of.
    """
    if following is not None:
        window = min(window, (following - slot).total_seconds() / 2)
    digest = hashlib.sha256(f"{report_id} {slot.timestamp()}".encode()).digest()
    return window * int.from_bytes(digest[:6]) / 2**48


def local(slot: datetime, time_zone: str) -> datetime:
    """Show an instant on the zone's clock, with its offset.

    At the very ends of the calendar, where the local date has no year from 1 to 9999, it stays UTC.
    """
    return _local(as_utc(slot), _zone(time_zone))


@lru_cache(maxsize=1024)
def find_zone(name: str) -> ZoneInfo | None:
    """Give the zone of an IANA name (`GMT` and `UTC` are among them), or None.

    Only names are looked up: paths, POSIX rules such as `CET-1CEST,M3.5.0,M10.5.0/3`, and whatever
    depends on the machine ("Local", "browser", "localtime") are not zones.
    """
    if not _ZONE_NAME.fullmatch(name) or _NO_PLACE.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # unknown; not a zone's file; a folder, or too long
        return None


def as_utc(instant: datetime) -> datetime:
    """Give the same instant in UTC. Raises ValueError for a naive one, which names none."""
    if instant.utcoffset() is None:  # astimezone() would take the zone of the machine
        message = "a naive datetime names no instant"
        raise ValueError(message)
    return instant.astimezone(UTC)


def first_instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """Give the instant, in UTC, of a naive local time: the first of two, or past the gap.

    RFC 5545 3.3.5: a local time that does not exist is read with the offset from before the gap,
    which moves it forward by the gap. Raises OverflowError beyond the years 1 to 9999.
    """
    return wall.replace(tzinfo=zone, fold=0).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class _Rule:
    """A well-formed schedule, prepared for arithmetic."""

    start: datetime
    wall: datetime  # the start on the zone's clock, naive
    zone: ZoneInfo
    unit: str  # "once", "hours", "days" or "months"
    amount: int
    day: int  # of the month, or _LAST_DAY
    workdays_only: bool

    def number_at(self, instant: datetime) -> int:
        """Tell which candidate an instant belongs to.

        It is exact for hours. On the wall clock it can be one too high or too low, because a gap or
        fold around midnight moves a candidate to the neighbouring local date.
        """
        if self.unit == "once":
            return 0
        if self.unit == "hours":
            return (instant - self.start) // timedelta(hours=self.amount)
        wall = _local(instant, self.zone)
        if self.unit == "days":
            return (wall.date() - self.wall.date()).days // self.amount
        return (_month_number(wall) - _month_number(self.wall)) // self.amount

    def slot(self, number: int) -> datetime | None:
        """Give the instant of a candidate, or None if it is not a slot."""
        try:
            instant = self._instant(number)
        except (OverflowError, ValueError):  # beyond year 9999; no such day in the month
            return None
        if instant is None or instant < self.start:
            return None
        if self.workdays_only and _local(instant, self.zone).weekday() >= _SATURDAY:
            return None
        return instant

    def _instant(self, number: int) -> datetime | None:
        if self.unit == "once":
            return self.start if number == 0 else None
        if self.unit == "hours":
            return self.start + number * timedelta(hours=self.amount)
        if self.unit == "days":
            wall = self.wall + number * timedelta(days=self.amount)
        else:
            year, month = divmod(_month_number(self.wall) + number * self.amount, 12)
            day = self.day or monthrange(year, month + 1)[1]
            wall = datetime.combine(date(year, month + 1, day), self.wall.time())
        # The start stands as given: read from the clock it could be the earlier of two instants.
        return self.start if wall == self.wall else first_instant(wall, self.zone)


def _rule(schedule: Schedule) -> _Rule | None:
    """Prepare a schedule; None for `never`, which has no slots. Raises `InvalidSchedule`."""
    if schedule.frequency not in FREQUENCIES:
        known = ", ".join(FREQUENCIES)
        message = f"{_quoted(schedule.frequency)} is not a frequency; use one of {known}."
        raise InvalidSchedule(field="schedule.frequency", message=message)
    zone = _zone(schedule.time_zone)
    day = _day_of_month(schedule)
    if schedule.frequency == "never":
        return None
    start = _bound("schedule.startDate", schedule.start)
    if start is None:
        message = f"A start date is needed for the frequency {schedule.frequency}."
        raise InvalidSchedule(field="schedule.startDate", message=message)
    _bound("schedule.endDate", schedule.end)
    unit, amount = _step(schedule)
    wall = _local(start, zone).replace(tzinfo=None, fold=0)
    return _Rule(
        start=start,
        wall=wall,
        zone=zone,
        unit=unit,
        amount=amount,
        day=wall.day if day is None else day,
        workdays_only=schedule.workdays_only and schedule.frequency in _HEED_WORKDAYS,
    )


def _step(schedule: Schedule) -> tuple[str, int]:
    """Give the unit and the number of units from one candidate to the next."""
    if schedule.frequency == "once":
        return "once", 1
    interval, amount = _INTERVAL_OF.get(schedule.frequency, schedule.interval_frequency), 1
    if schedule.frequency == "custom":
        amount = schedule.interval_amount
        if interval not in INTERVALS:
            known = ", ".join(INTERVALS)
            message = f"{_quoted(interval)} is not an interval; use one of {known}."
            raise InvalidSchedule(field="schedule.intervalFrequency", message=message)
        if not 1 <= amount <= MAX_INTERVAL_AMOUNT:
            message = f"The interval must be from 1 to {MAX_INTERVAL_AMOUNT}, not {amount}."
            raise InvalidSchedule(field="schedule.intervalAmount", message=message)
    return ("days", 7 * amount) if interval == "weeks" else (interval, amount)


def _day_of_month(schedule: Schedule) -> int | None:
    """Read the day a monthly rule asks for; None where the start's day counts.

    Grafana's documented example sends "2" with `once`, so elsewhere the field means nothing; but it
    must be well-formed everywhere.
    """
    text = schedule.day_of_month
    if text not in ("", "last") and not _DAY_OF_MONTH.fullmatch(text):
        message = f'{_quoted(text)} is not a day of the month; use "1" to "31", or "last".'
        raise InvalidSchedule(field="schedule.dayOfMonth", message=message)
    if schedule.frequency == "last":
        return _LAST_DAY
    if schedule.frequency != "monthly" or not text:
        return None
    return _LAST_DAY if text == "last" else int(text)


def _zone(name: str) -> ZoneInfo:
    zone = find_zone(name)
    if zone is None:
        message = f'{_quoted(name)} is not a time zone; use an IANA name such as "Europe/Warsaw".'
        raise InvalidSchedule(field="schedule.timeZone", message=message)
    return zone


def _bound(field: str, instant: datetime | None) -> datetime | None:
    if instant is None:
        return None
    try:
        return as_utc(instant)
    except ValueError as exc:
        raise InvalidSchedule(field=field, message="The date needs an offset from UTC.") from exc
    except OverflowError as exc:
        message = "The date lies outside the years 1 to 9999."
        raise InvalidSchedule(field=field, message=message) from exc


def _local(instant: datetime, zone: ZoneInfo) -> datetime:
    try:
        return instant.astimezone(zone)
    except OverflowError:
        return instant


def _month_number(moment: datetime) -> int:
    return moment.year * 12 + moment.month - 1


def _quoted(text: str) -> str:
    return f'"{text[:60]}"'
