"""Times as Grafana writes them."""

from __future__ import annotations

import datetime as dt

from shared import schedule


def shown(instant: dt.datetime | None, time_zone: str = "UTC") -> str | None:
    """Return RFC 3339 with the zone's offset of that moment, and `Z` for none, as Go does.

    A fraction of a second is shown only where there is one.
    """
    if instant is None:
        return None
    local = schedule.local(instant, time_zone)
    text = local.replace(tzinfo=None).isoformat()
    if local.microsecond:
        text = text.rstrip("0")
    return text + offset(local)


def offset(local: dt.datetime) -> str:
    """Return the offset of a local time: `+02:00`, or `Z`."""
    away = local.utcoffset() or dt.timedelta()
    # Before standard time, offsets had seconds, which RFC 3339 has no place for.
    minutes = round(away.total_seconds() / 60)
    if minutes == 0:
        return "Z"
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
