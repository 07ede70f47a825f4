"""Relative time ranges ("now-1d/d" to "now") as two instants, by Grafana's rules.

Pure: `now` is an argument, usually the slot of a run, so that a late run shows the right data. The
language is that of Grafana's `datemath.ts`: `now`, then steps (`-7d`, `+8h`; no number means one)
and roundings (`/d`: to the start of the unit in `from`, to its last millisecond in `to`), from left
to right. `h`, `m` and `s` are elapsed time; days and longer step on the zone's wall clock, months
and years stay within the target month (31 March - 1M is the last of February). `fQ` and `fy` round
to fiscal quarters and years; as steps they are as long as the plain ones, as in Grafana.

Grafana also takes absolute times, and so do we: milliseconds since 1970, an ISO 8601 date with or
without a time, and the compact forms of dashboard links, `YYYYMMDD` and `YYYYMMDDTHHmmss`. The
latter mean UTC, as in Grafana's URL reader (`toUtc`); an ISO time without an offset is read on the
zone's clock, as the time picker does.

Weeks start on Sunday unless the dashboard says otherwise. Grafana asks moment's locale, and both
its own default language and the browser that makes our captures are US English: Sunday.
"""

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from shared.schedule import as_utc, find_zone, first_instant

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_ELAPSED = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1)}
_DAYS = {"d": 1, "w": 7}
_MONTHS = {"M": 1, "Q": 3, "fQ": 3, "y": 12, "Y": 12, "fy": 12}
_FISCAL = ("fQ", "fy")
# Days from the Monday Python counts from to the first day of the week; Grafana offers these three.
_WEEK_STARTS = {"monday": 0, "saturday": 5, "sunday": 6}

_UNIT = "(f[Qy]|[smhdwMQyY])"  # Grafana's documentation wrote now/Y for a while
_OPERATION = re.compile(rf"([+-])([0-9]{{0,9}}){_UNIT}|/1?{_UNIT}")
_RELATIVE = re.compile(rf"now({_OPERATION.pattern})*")
_COMPACT = re.compile(r"[0-9]{8}(T[0-9]{6})?")
_MILLISECONDS = re.compile(r"[0-9]{1,15}")
_ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]{1,9})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)


class InvalidTimeRange(ValueError):
    """The time range cannot be used; `message` is a sentence that says why."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Two instants in UTC; the end is not before the start."""

    start: datetime
    end: datetime

    @property
    def from_ms(self) -> int:
        """The start as Grafana's `from`: milliseconds since 1970."""
        return (self.start - _EPOCH) // _MILLISECOND

    @property
    def to_ms(self) -> int:
        """The end as Grafana's `to`: milliseconds since 1970."""
        return (self.end - _EPOCH) // _MILLISECOND


@dataclass(frozen=True, slots=True)
class _Calendar:
    """How a dashboard counts days, weeks and years."""

    zone: ZoneInfo
    fiscal_year_start_month: int
    week_start: int


def resolve(
    from_: str,
    to: str,
    *,
    at: datetime,
    time_zone: str,
    fiscal_year_start_month: int = 0,
    week_start: str = "",
) -> TimeRange:
    """Turn a range into instants, `now` being `at`. Raises `InvalidTimeRange`.

    The month (0 is January) and the day ("saturday", "sunday", "monday") are the dashboard's own
    `fiscalYearStartMonth` and `weekStart`; any other day means Grafana's default.
    """
    zone = find_zone(time_zone)
    if zone is None:
        message = f"{_quoted(time_zone)} is not a time zone; use an IANA name (or UTC)."
        raise InvalidTimeRange(message)
    first_day = _WEEK_STARTS.get(week_start.lower(), _WEEK_STARTS["sunday"])
    calendar = _Calendar(zone, fiscal_year_start_month, first_day)
    now = as_utc(at)
    start = _moment("from", from_, now, calendar)
    end = _moment("to", to, now, calendar)
    if start > end:
        message = f"The time range ends before it starts: from {_quoted(from_)}, to {_quoted(to)}."
        raise InvalidTimeRange(message)
    return TimeRange(start, end)


def check(from_: str, to: str) -> None:
    """Raise `InvalidTimeRange` unless both are empty (the dashboard's range) or both well-formed.

    Whether `from` lies after `to` may depend on the moment (from "now/d" to "now-8h" does), so only
    `resolve` can tell.
    """
    if not from_ and not to:
        return
    if not from_ or not to:
        missing = "to" if from_ else "from"
        message = f'The time range has no "{missing}"; give both ends, or neither.'
        raise InvalidTimeRange(message)
    some_time = datetime(2000, 1, 1, tzinfo=UTC)
    calendar = _Calendar(ZoneInfo("UTC"), 0, 0)
    _moment("from", from_, some_time, calendar)
    _moment("to", to, some_time, calendar)


def _moment(end: str, text: str, now: datetime, calendar: _Calendar) -> datetime:
    """Give the instant, in UTC, that one end of a range names. Raises `InvalidTimeRange`."""
    compact = "".join(text.split())
    try:
        if _RELATIVE.fullmatch(compact):
            return _relative(compact, now, calendar, round_up=end == "to")
        return _absolute(text.upper(), calendar.zone)
    except OverflowError as exc:
        message = f'"{end}" of the time range, {_quoted(text)}, is outside the years 1 to 9999.'
        raise InvalidTimeRange(message) from exc
    except ValueError as exc:
        message = (
            f'"{end}" of the time range, {_quoted(text)}, is not a time; use a relative one such as'
            ' "now-6h" or "now-1d/d", a date and time such as "2024-01-31T08:00:00+01:00",'
            " or milliseconds since 1970."
        )
        raise InvalidTimeRange(message) from exc


def _relative(text: str, now: datetime, calendar: _Calendar, *, round_up: bool) -> datetime:
    moment = now
    for sign, amount, step, rounding in _OPERATION.findall(text):
        if rounding:
            moment = _rounded(moment, rounding, calendar, up=round_up)
        else:
            moment = _stepped(moment, int(sign + (amount or "1")), step, calendar.zone)
    return moment


def _stepped(moment: datetime, amount: int, unit: str, zone: ZoneInfo) -> datetime:
    if unit in _ELAPSED:
        return moment + amount * _ELAPSED[unit]
    if amount == 0:  # read from the clock it could become the earlier of two instants
        return moment
    wall = moment.astimezone(zone).replace(tzinfo=None)
    return first_instant(_wall_stepped(wall, amount, unit), zone)


def _wall_stepped(wall: datetime, amount: int, unit: str) -> datetime:
    if unit in _DAYS:
        return wall + timedelta(days=amount * _DAYS[unit])
    year, month = divmod(wall.year * 12 + wall.month - 1 + amount * _MONTHS[unit], 12)
    if not MINYEAR <= year <= MAXYEAR:
        raise OverflowError
    return wall.replace(
        year=year, month=month + 1, day=min(wall.day, monthrange(year, month + 1)[1])
    )


def _rounded(moment: datetime, unit: str, calendar: _Calendar, *, up: bool) -> datetime:
    """Give the first instant of the unit around `moment`, or its last millisecond."""
    local = moment.astimezone(calendar.zone)
    wall = local.replace(tzinfo=None)
    if unit in _ELAPSED:
        length = _ELAPSED[unit]
        edge = wall - (wall - datetime.combine(wall, time.min)) % length
        if up:
            edge += length - _MILLISECOND
        # The fold stays: within the second pass of an hour, rounding must not reach the first.
        return edge.replace(tzinfo=calendar.zone, fold=local.fold).astimezone(UTC)
    first = _first_day(wall, unit, calendar)
    if not up:
        return first_instant(first, calendar.zone)
    return first_instant(_wall_stepped(first, 1, unit), calendar.zone) - _MILLISECOND


def _first_day(wall: datetime, unit: str, calendar: _Calendar) -> datetime:
    """Give midnight of the first day of the unit of days or months around a local time."""
    midnight = datetime.combine(wall, time.min)
    if unit == "d":
        return midnight
    if unit == "w":
        return midnight - timedelta(days=(wall.weekday() - calendar.week_start) % 7)
    year_starts = calendar.fiscal_year_start_month if unit in _FISCAL else 0
    months_in = (wall.month - 1 - year_starts) % _MONTHS[unit]
    return _wall_stepped(midnight.replace(day=1), -months_in, "M")


def _absolute(text: str, zone: ZoneInfo) -> datetime:
    if _COMPACT.fullmatch(text):  # before milliseconds: eight digits are a date
        layout = "%Y%m%dT%H%M%S" if "T" in text else "%Y%m%d"
        return datetime.strptime(text, layout).replace(tzinfo=UTC)
    if _MILLISECONDS.fullmatch(text):
        return _EPOCH + int(text) * _MILLISECOND
    if not _ISO.fullmatch(text):
        raise ValueError
    parsed = datetime.fromisoformat(text)
    return first_instant(parsed, zone) if parsed.tzinfo is None else parsed.astimezone(UTC)


def _quoted(text: str) -> str:
    return f'"{text[:60]}"'
