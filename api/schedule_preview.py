"""`/api/reports/schedule/preview`: when a schedule would be due, before it is saved."""

from __future__ import annotations

import datetime as dt
from typing import Any

from api import schemas
from api.auth import needs
from api.blueprint import Blueprint
from api.errors import invalid
from api.reports import check_schedule, schedule_of
from api.services import services
from api.times import offset, shown
from shared import schedule
from shared.reports import SCHEDULED
from shared.schedule import Schedule

blp = Blueprint(
    "schedule",
    __name__,
    url_prefix="/api/reports/schedule",
    description="When a schedule is due; not in Grafana.",
)
DEFAULT_COUNT = 5


@blp.route("/preview", methods=["POST"])
@needs(None)
@blp.arguments(schemas.PreviewRequest)
@blp.answers(200, schemas.Preview)
def preview_schedule(body: dict[str, Any]) -> dict[str, Any]:
    """Return the next slots of a schedule: the instant, and how the schedule's clock shows it."""
    now = services().now()
    # A schedule without a start begins now, and that is its first slot.
    after = body.get("after", now - dt.timedelta(microseconds=1))
    rule = schedule_of(body["schedule"], Schedule(frequency="never"), SCHEDULED, now)
    if not rule.frequency:
        raise invalid("schedule.frequency", "is required")
    check_schedule(rule)
    slots = schedule.occurrences(rule, after, body.get("count", DEFAULT_COUNT))
    return {
        "timeZone": rule.time_zone,
        "occurrences": [
            {
                "instant": shown(slot),
                "local": local.replace(tzinfo=None).isoformat(timespec="seconds"),
                "offset": offset(local),
            }
            for slot in slots
            for local in [schedule.local(slot, rule.time_zone)]
        ],
    }
