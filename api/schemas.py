"""What the API takes and gives, by the names of Grafana's specification.

Schemas of requests are loaded (strictly, see `api.fields`) into dictionaries in the API's own
words. Schemas of responses only document: the views build plain JSON, and the schemathesis test
holds one against the other.
"""

from __future__ import annotations

import json
from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from api.fields import (
    INT64,
    Body,
    Choice,
    Flag,
    Instant,
    Object,
    ObjectList,
    QueryWhole,
    Text,
    TextList,
    Variables,
    Whole,
)
from shared import (
    deliveries,
    footer,
    permissions,
    reports,
    resolutions,
    runs,
    schedule,
    spec,
)
from shared.settings import MAX_DASHBOARDS, MAX_RECIPIENTS

MAX_FORMATS = 20
MAX_FOOTER_ITEMS = 10
LONGEST_CAUSE = 100_000
#: Of all options together, as JSON: those that we do not know are kept as they come.
LONGEST_OPTIONS = 65_536
#: A picture of 190 kB, written as an address: what the workers take into a mail.
MAX_LOGO = 256 * 1024
#: Three times an address of the greatest length, on average, would be a very odd list.
LONGEST_ADDRESS_LIST = MAX_RECIPIENTS * 100


class Message(Body):
    """What every change answers, and every error."""

    message = fields.String(required=True)


class ErrorResponseBody(Message):
    """An error: one sentence, naming the field where it is about one."""


class SuccessResponseBody(Message):
    """A change that was made."""


class Sent(Message):
    """A mail that was sent; `runId`, `state` and `complete` are not in Grafana."""

    run_id = Whole(required=True, metadata={"description": "The run that sent the mail."})
    state = Text(
        required=True,
        metadata={
            "enum": ["sent", "partial"],
            "description": "`partial`: not to all recipients; `message` names the others.",
        },
    )
    complete = Flag(
        metadata={"description": "Whether every panel shows what it should; else see the run."}
    )


class Created(Message):
    """A report that was created."""

    id = Whole(required=True)


class RunStarted(Message):
    """A run that goes on; its address is in the header Location."""

    run_id = Whole(required=True)


class ReportTimeRange(Body):
    """A range of Grafana's: relative (`now-1d/d`) or absolute; empty is the dashboard's own."""

    from_ = Text(longest=100)
    to = Text(longest=100)

    def on_bind_field(self, field_name: str, field_obj: fields.Field) -> None:  # type: ignore[type-arg]  # as in the base class
        """`from` cannot be an attribute in Python."""
        super().on_bind_field(field_name.rstrip("_"), field_obj)


class ReportDashboardID(Body):
    """A dashboard. Requests need its `uid` only; `id` and `name` are filled from Grafana."""

    id = Whole()
    uid = Text(longest=200)
    name = Text(longest=1_000, line=False)


class ReportDashboard(Body):
    """One dashboard of a report, with its time range and variables."""

    dashboard = Object(ReportDashboardID)
    time_range = Object(ReportTimeRange)
    report_variables = Variables(
        metadata={"description": "Values by variable; empty: the dashboard's own values."}
    )


class ReportOptions(Body):
    """How the PDF looks. Options we do not know are kept and returned."""

    orientation = Choice("portrait", "landscape")
    layout = Choice("simple", "grid")
    time_range = Object(
        ReportTimeRange,
        metadata={"description": "Older form: for dashboards that have no range of their own."},
    )
    pdf_combine_one_file = Flag()
    pdf_show_template_variables = Flag()
    pdf_include_tables = Flag(
        metadata={"description": "Not in Grafana: the PDF ends with the rows of all tables."}
    )
    csv_encoding = Text(
        metadata={
            "description": (
                '"utf-8-bom" (default), "utf-8" or "utf-16". Grafana has this option, and its '
                "values are not public: any other text is kept, and taken as the default."
            )
        }
    )
    csv_values = Choice(
        "formatted",
        "raw",
        metadata={
            "description": (
                "Not in Grafana: cells as the reader sees them (default), or the values behind "
                "them, with times as ISO 8601 in UTC."
            )
        },
    )
    csv_formula_guard = Flag(
        metadata={
            "description": (
                "Not in Grafana: an apostrophe goes before what a spreadsheet would run. On if "
                "absent."
            )
        }
    )
    time_zone = Text(
        longest=100,
        metadata={
            "description": (
                "Not in Grafana: the zone of axes, texts and header, an IANA name. Absent or "
                "empty: the dashboard's own, and where that is the browser's, the schedule's."
            )
        },
    )
    render_timeout = Whole(
        low=0,
        high=spec.LONGEST_RENDER,
        metadata={
            "description": (
                "Not in Grafana: seconds for the panels of a dashboard; what is not there then is "
                "incomplete. 0 or absent: BROADSHEET_RENDER_TIMEOUT."
            )
        },
    )
    on_incomplete = Choice(
        *spec.ON_INCOMPLETE,
        metadata={
            "description": (
                "Not in Grafana: what to do when a panel fails or does not come in time. "
                '"deliver" (default) sends what is there and marks what is missing; "fail" tries '
                "again, and in the end sends nothing."
            )
        },
    )
    spread_seconds = Whole(
        low=0,
        high=spec.LONGEST_SPREAD,
        metadata={
            "description": (
                "Not in Grafana: the report may begin up to so many seconds after its slot, always "
                "the same for one slot, so that not all reports begin at once. Time ranges still "
                "end at the slot."
            )
        },
    )
    failure_recipients = Text(
        longest=10_000,
        metadata={
            "description": (
                "Not in Grafana: who gets a mail when a slot of the report did not go out, in "
                "whole or in part; addresses with commas."
            )
        },
    )

    @validates_schema(pass_original=True, skip_on_field_errors=True)
    def _bounded(self, data: Any, original: Any, **_: Any) -> None:
        del data
        if len(json.dumps(original)) > LONGEST_OPTIONS:
            raise ValidationError(
                f"must not be longer than {LONGEST_OPTIONS} characters, written as JSON"
            )

    class Meta:
        """Echo what newer Grafanas know."""

        unknown = "include"


class ReportSchedule(Body):
    """When a report is due. Days, weeks and months are counted on the clock of `timeZone`."""

    start_date = Instant(
        metadata={
            "description": (
                "Begin of the schedule, and its first slot if the rule names it. "
                "Absent: now on creation, else as it was."
            )
        }
    )
    end_date = Instant(metadata={"description": "Last moment of the schedule, inclusive."})
    frequency = Choice(*schedule.FREQUENCIES)
    interval_frequency = Choice(
        *schedule.INTERVALS, metadata={"description": "The unit of `custom`."}
    )
    interval_amount = Whole(
        metadata={"description": f"How many of them, from 1 to {schedule.MAX_INTERVAL_AMOUNT}."}
    )
    workdays_only = Flag(metadata={"description": "Monday to Friday; hourly, daily and custom."})
    day_of_month = Text(
        longest=10,
        metadata={
            "description": (
                'With `monthly`: "1" to "31", or "last". Absent: the day of the start. '
                "Months without that day are left out."
            )
        },
    )
    time_zone = Text(
        longest=100, metadata={"description": "IANA name. Absent: GMT.", "example": "Europe/Warsaw"}
    )


class CreateOrUpdateReport(Body):
    """A report's configuration. Replaces the stored one as a whole.

    Only `state`, `scaleFactor`, `subject`, `schedule.startDate` and the PDF options keep their
    stored value where they are absent, because common clients cannot express them.
    """

    name = Text(longest=255)
    subject = Text(longest=500)
    recipients = Text(
        longest=LONGEST_ADDRESS_LIST,
        line=False,
        metadata={"description": "Addresses, separated by commas or semicolons."},
    )
    reply_to = Text(longest=LONGEST_ADDRESS_LIST, line=False)
    message = Text(longest=65_536, line=False)
    schedule = Object(ReportSchedule)
    options = Object(ReportOptions)
    enable_dashboard_url = Flag()
    enable_csv = Flag(metadata={"deprecated": True, "description": 'As `"csv"` in `formats`.'})
    state = Choice(
        *reports.STATES,
        metadata={
            "description": (
                "Absent: scheduled on creation, else as it was. `expired` is found, not set."
            )
        },
    )
    dashboards = ObjectList(ReportDashboard, most=MAX_DASHBOARDS)
    formats = TextList(
        most=MAX_FORMATS, metadata={"description": '"pdf" (default), "csv", "image".'}
    )
    scale_factor = Whole(low=0, high=10, metadata={"description": "Zoom; 0: the server's own."})
    dashboard_id = Whole(metadata={"deprecated": True, "description": "Ignored; use dashboards."})
    dashboard_uid = Text(
        longest=200,
        metadata={"deprecated": True, "description": "The only dashboard, before Grafana 9."},
    )
    template_vars = Variables(metadata={"deprecated": True})


#: Shown in the documentation, to be tried out.
EXAMPLE = {
    "name": "Weekly figures",
    "recipients": "team@example.org,boss@example.org",
    "message": "Hi,\nplease find attached the figures of last week.",
    "schedule": {
        "frequency": "weekly",
        "startDate": "2030-01-07T08:00:00+01:00",
        "timeZone": "Europe/Warsaw",
    },
    "options": {"orientation": "landscape", "layout": "grid"},
    "enableDashboardUrl": True,
    "dashboards": [
        {
            "dashboard": {"uid": "7MeksYbmk"},
            "timeRange": {"from": "now-7d/d", "to": "now-1d/d"},
            "reportVariables": {"host": ["web-1", "web-2"]},
        }
    ],
    "formats": ["pdf", "csv"],
}


class Report(CreateOrUpdateReport):
    """A stored report."""

    id = Whole(required=True)
    uid = Text(required=True)
    user_id = Whole(required=True)
    org_id = Whole(required=True)
    next_run = Instant(
        metadata={"description": "The next slot, null when there is none; not in Grafana."}
    )
    created = Instant(required=True)
    updated = Instant(required=True)

    class Meta:
        """The forms from before Grafana 9 are taken, and never given."""

        exclude = ("dashboard_id", "dashboard_uid", "template_vars")


class ReportEmail(Body):
    """Which report to send now, and to whom."""

    id = fields.Raw(
        metadata={
            "type": ["string", "integer"],
            "pattern": "^[0-9]+$",
            "minimum": 1,
            "maximum": INT64,
            "description": "The report's id, as text (or as a number).",
        }
    )
    emails = Text(
        longest=LONGEST_ADDRESS_LIST,
        line=False,
        metadata={"description": "Addresses instead of the report's own."},
    )
    use_emails_from_report = Flag()
    email = Text(
        longest=LONGEST_ADDRESS_LIST,
        line=False,
        metadata={"deprecated": True, "description": "As `emails`."},
    )


class ReportBrandingOptions(Body):
    """Logos and the footer of mails."""

    report_logo_url = Text(
        longest=MAX_LOGO,
        metadata={
            "description": (
                "As `emailLogoUrl`, for PDFs: at the top left of each page, and in the footer."
            )
        },
    )
    email_logo_url = Text(
        longest=MAX_LOGO,
        metadata={
            "description": (
                "The picture itself (`data:image/png;base64,…`, or jpeg, or gif); "
                "`/api/reports/images/…`, as its upload told; or an http(s) address, from which "
                "the workers fetch it when a report is made. Mails carry it along."
            )
        },
    )
    email_footer_mode = Choice("sent-by", "none")
    email_footer_text = Text()
    email_footer_link = Text(longest=2_000)


class UploadedImage(Message):
    """A logo that was uploaded; not in Grafana, whose form of this is not public."""

    name = Text(required=True)
    url = Text(
        required=True,
        metadata={"description": "What `reportLogoUrl` and `emailLogoUrl` take."},
    )


class StoredImage(Body):
    """An uploaded logo of the organisation."""

    name = Text(required=True)
    url = Text(required=True)
    size = Whole(required=True, metadata={"description": "In bytes."})
    created = Instant(required=True)


class FooterItem(Body):
    """One part of the footer of PDF pages. Of an unknown type it is kept, and not printed."""

    type = Text(
        metadata={
            "description": (
                "`page-number` (Page 2/8), `date` (of the report's making), `text`, `logo`, or "
                "`spacer`, which takes what room there is. Case and punctuation do not matter: "
                "`pageNumber` will do."
            )
        }
    )
    value = Text(
        metadata={
            "description": (
                f"Of a date: {', '.join(f'`{name}`' for name in footer.DATES)}, the first if "
                f"empty. Of a text: itself, at most {footer.LONGEST_TEXT} characters without < "
                f"and >. Of a logo: its height, {', '.join(map(str, footer.LOGO_SIZES))} pixels, "
                f"{footer.LOGO_SIZE} if empty; 64 fill the footer."
            )
        }
    )
    color = Text(metadata={"description": "Such as `#1f60c4`."})
    font_size = Text(
        metadata={"description": f"In pixels, from {footer.SMALLEST} to {footer.LARGEST}."}
    )
    font_style = Text(metadata={"description": "`normal` or `italic`."})
    font_weight = Text(metadata={"description": "`normal` or `bold`."})


class ReportSettings(Body):
    """Settings of an organisation, for all its reports."""

    id = Whole()
    user_id = Whole()
    org_id = Whole()
    branding = Object(ReportBrandingOptions)
    pdf_theme = Text()
    embedded_image_theme = Text()
    pdf_header_enabled = Flag()
    pdf_dashboard_title_enabled = Flag()
    pdf_time_range_enabled = Flag()
    footer_items = ObjectList(
        FooterItem,
        most=MAX_FOOTER_ITEMS,
        metadata={
            "description": (
                "The footer, from left to right; empty: the page number and the logo. The "
                "appendix of tables always has that one."
            )
        },
    )
    footer_font_family = Text(
        metadata={
            "description": (
                "`Inter` (the default), `Helvetica`, `Arial`, `Times New Roman`, `Georgia`, "
                "`Verdana`, `Trebuchet MS` or `Courier New`, or what the workers' machines have "
                "that is like it."
            )
        }
    )


class PreviewRequest(Body):
    """A schedule, and which of its slots to list."""

    schedule = Object(ReportSchedule, required=True)
    count = Whole(low=1, high=100, metadata={"description": "How many slots; 5 if absent."})
    after = Instant(metadata={"description": "List slots after this moment; now if absent."})


class Occurrence(Body):
    """One slot: an instant, and how the clock of the schedule's zone shows it."""

    instant = Instant(required=True)
    local = Text(required=True)
    offset = Text(required=True)


class Preview(Body):
    """The next slots of a schedule."""

    time_zone = Text(required=True)
    occurrences = ObjectList(Occurrence, most=100, required=True)


class RunDashboard(Body):
    """Which dashboard a capture is of."""

    uid = Text(required=True)
    name = Text(required=True, line=False)


class RunCapture(Body):
    """One dashboard of a run."""

    id = Whole(required=True, metadata={"description": "The same where runs share a capture."})
    position = Whole(required=True)
    dashboard = Object(RunDashboard, required=True)
    state = Text(required=True)
    cause = Text(line=False, longest=LONGEST_CAUSE)
    attempts = Whole(required=True)
    facts = fields.Dict(metadata={"description": "Title, resolved time range, variables."})
    verdict = fields.Dict(
        metadata={
            "description": (
                "`panels`: key, title, type, state (ok, no data, error, missing plugin, timed "
                "out), message and milliseconds of each; `counts` of them by state; `complete`; "
                "`remarks` on the whole page; `queries`: path, panel, status, bytes (`size`), "
                "milliseconds, tries and message of each, 500 at most; `query_count` and "
                "`failed_count` of all."
            )
        }
    )
    stages = fields.Dict(metadata={"description": "Milliseconds by stage."})


class DeliveryResolution(Body):
    """What somebody decided of a mail of which nobody knew whether it arrived."""

    as_ = Choice(*resolutions.VERDICTS, required=True)
    by = Text(required=True, metadata={"description": "The token's name, or the user's."})
    token_id = Whole(metadata={"description": "Null where it was at the command line."})
    through = Choice(resolutions.API, resolutions.COMMAND_LINE, required=True)
    at = Instant(required=True)
    attempt = Whole(required=True, metadata={"description": "The attempt that was unknown."})
    cause = Text(line=False, longest=LONGEST_CAUSE, required=True)

    def on_bind_field(self, field_name: str, field_obj: fields.Field) -> None:  # type: ignore[type-arg]  # as in the base class
        """`as` cannot be an attribute in Python."""
        super().on_bind_field(field_name.rstrip("_"), field_obj)


class RunDelivery(Body):
    """One mail of a run to one recipient."""

    id = Whole(required=True)
    recipient = Text(required=True, line=False)
    state = Choice(*deliveries.STATES, required=True)
    cause = Text(line=False, longest=LONGEST_CAUSE)
    attempts = Whole(
        required=True,
        metadata={"description": "Without those in which the mail server was at fault."},
    )
    attached = Choice(
        *deliveries.ATTACHED,
        required=True,
        metadata={
            "description": "Which documents travel in the mail; for the others it has links, or "
            "says where they are, because it would be too large."
        },
    )
    message_id = Text(required=True)
    smtp_code = Whole()
    created = Instant(required=True)
    finished = Instant()
    resolutions = ObjectList(
        DeliveryResolution,
        most=10_000,
        required=True,
        metadata={"description": "What was decided where it was `unknown`, the first first."},
    )


class UndeliveredMail(Body):
    """A mail that did not arrive, or of which that is not known."""

    id = Whole(required=True)
    run_id = Whole(required=True)
    report_id = Whole()
    name = Text(required=True)
    recipient = Text(required=True, line=False)
    state = Text(required=True)
    cause = Text(line=False, longest=LONGEST_CAUSE)
    attempts = Whole(required=True)
    message_id = Text(required=True)
    created = Instant(required=True)
    finished = Instant()
    href = Text(required=True, metadata={"description": "The run's address."})


class Resolve(Body):
    """What to do with a mail that is `unknown`."""

    as_ = Choice(
        *resolutions.VERDICTS,
        required=True,
        metadata={
            "description": "`sent`: it arrived, as its recipient says. `again`: send it once "
            "more, with the same Message-ID and content."
        },
    )

    def on_bind_field(self, field_name: str, field_obj: fields.Field) -> None:  # type: ignore[type-arg]  # as in the base class
        """`as` cannot be an attribute in Python."""
        super().on_bind_field(field_name.rstrip("_"), field_obj)


class ResolvedMail(Message):
    """A mail that was resolved."""

    run_id = Whole(required=True)
    state = Choice(*runs.STATES, required=True, metadata={"description": "The run's state now."})


TOKEN_EXAMPLE = {
    "name": "nightly job",
    "permissions": {"reports:read": ["reports:*"], "reports:send": ["reports:id:4"]},
    "secondsToLive": 2_592_000,
}


class NewToken(Body):
    """A token to be made: with a role or with permissions."""

    name = Text(longest=200)
    role = Choice(*permissions.ROLES)
    permissions = fields.Dict(
        keys=Text(longest=200),
        values=fields.List(Text(longest=200), validate=validate.Length(max=1_000)),
        metadata={"description": "Action → scopes, as in Grafana's access control."},
    )
    seconds_to_live = Whole(
        low=0, high=3_155_760_000, metadata={"description": "0 or absent: until it is revoked."}
    )


class MadeToken(Message):
    """A token that was made, in the words of Grafana's service account tokens."""

    id = fields.Integer()
    name = fields.String()
    key = fields.String(metadata={"description": "The secret, shown this once."})


class Token(Body):
    """A token without its secret."""

    id = fields.Integer()
    name = fields.String()
    role = fields.String(allow_none=True)
    permissions = fields.Dict(allow_none=True)
    created = fields.String()
    expiration = fields.String(allow_none=True)
    has_expired = fields.Boolean()
    revoked = fields.String(allow_none=True)
    last_used_at = fields.String(allow_none=True)


class AuditRecord(Body):
    """Something that somebody did."""

    id = fields.Integer()
    at = fields.String()
    who = fields.String(
        metadata={
            "description": "`token:4`, `user:3`, `service-account:7`, `terminal:name` or `link`."
        }
    )
    name = fields.String()
    address = fields.String(allow_none=True)
    action = fields.String()
    report_id = fields.Integer(allow_none=True)
    run_id = fields.Integer(allow_none=True)
    detail = fields.Dict()


#: Mail programs break long links in two.
CUT_OFF = {"required": "is missing from this link; open or copy it as a whole, as the mail has it"}


class Retried(Message):
    """A run that was taken up again."""

    run_id = fields.Integer()
    mails = fields.Integer(
        metadata={"description": "How many mails are sent again; 0: it is rendered again."}
    )


class LinkQuery(Body):
    """What a download link has besides the document's id; nothing of it can be changed."""

    org = QueryWhole(low=1, required=True, error_messages=CUT_OFF)
    expires = QueryWhole(low=0, required=True, error_messages=CUT_OFF)
    signature = Text(required=True, longest=200, error_messages=CUT_OFF)


class RunDocument(Body):
    """A file of a run."""

    id = Whole(required=True)
    kind = Text(required=True)
    name = Text(required=True)
    media_type = Text(required=True)
    size = Whole(required=True)
    sha256 = Text(required=True)
    href = Text(required=True)


class RunStages(Body):
    """Milliseconds that each stage took; null for one that has not ended."""

    queued = Whole()
    rendering = Whole()
    assemble = Whole()
    delivering = Whole()


class Run(Body):
    """One firing of a report."""

    id = Whole(required=True)
    report_id = Whole(
        metadata={"description": "Null for a test or an export, and when the report is deleted."}
    )
    report_revision = Whole()
    kind = Choice(*runs.LANES, required=True)
    name = Text(required=True)
    state = Choice(*runs.STATES, required=True)
    cause = Text(line=False, longest=LONGEST_CAUSE)
    complete = Flag(
        metadata={
            "description": "Whether every panel of every dashboard shows what it should; null "
            "until that is known. The captures' verdicts say which do not."
        }
    )
    scheduled_for = Instant(required=True)
    not_before = Instant(
        metadata={
            "description": "Where the report spreads its slots (`spreadSeconds`): when the run "
            "may begin. Null for others, and once it has begun."
        }
    )
    created = Instant(required=True)
    started = Instant()
    rendered = Instant()
    finished = Instant()
    stages = Object(RunStages, required=True)
    href = Text(required=True)


class RunDetails(Run):
    """A run with all that came of it."""

    captures = ObjectList(RunCapture, most=MAX_DASHBOARDS, required=True)
    deliveries = ObjectList(RunDelivery, most=MAX_RECIPIENTS, required=True)
    documents = ObjectList(RunDocument, most=10_000, required=True)


class Health(Body):
    """That the process answers."""

    status = Text(required=True)
