"""Whatever a caller sends, the answer is JSON with one sentence, and never a 500."""

from __future__ import annotations

import json
import threading

import pytest

from api.app import create_app
from shared import db
from shared.errors import DashboardForbidden, DatabaseAway, GrafanaAway, GrafanaRefused
from tests.integration.api.fakes import report_body


def body_with(**changes):
    return report_body(**changes)


def scheduled(**rule):
    return report_body(schedule={"frequency": "daily", **rule})


def on_dashboard(**changes):
    return report_body(dashboards=[{"dashboard": {"uid": "x"}, **changes}])


VARIABLES = "dashboards[0].reportVariables"

#: Bodies, and the field that is wrong with each. One list for one test: a database is dear.
WRONG = [
    (body_with(name=...), "name"),
    (body_with(name=""), "name"),
    (body_with(name="  "), "name"),
    (body_with(name=5), "name"),
    (body_with(name="a\nb"), "name"),
    (body_with(name="x" * 256), "name"),
    (body_with(name="a\x00b"), "name"),
    (body_with(name=["a"]), "name"),
    (body_with(subject={"a": 1}), "subject"),
    (body_with(recipients=...), "recipients"),
    (body_with(recipients=" , ;"), "recipients"),
    (body_with(recipients="nobody"), "recipients"),
    (body_with(recipients="a@b.c,@"), "recipients"),
    (body_with(recipients="a@b.c\r\nBcc: x@y.z"), "recipients"),
    (body_with(recipients='"a@b.c" <root>'), "recipients"),
    (body_with(recipients=["a@b.c"]), "recipients"),
    (body_with(recipients=",".join(f"a{n}@b.c" for n in range(501))), "recipients"),
    (body_with(replyTo="nobody"), "replyTo"),
    (body_with(message=1.5), "message"),
    (body_with(message="x" * 65_537), "message"),
    (body_with(options={"new": "x" * 65_536}), "options"),
    (body_with(enableDashboardUrl="true"), "enableDashboardUrl"),
    (body_with(enableCsv=1), "enableCsv"),
    (body_with(state="asleep"), "state"),
    (body_with(scaleFactor="2"), "scaleFactor"),
    (body_with(scaleFactor=2.0), "scaleFactor"),
    (body_with(scaleFactor=True), "scaleFactor"),
    (body_with(scaleFactor=-1), "scaleFactor"),
    (body_with(scaleFactor=2**63), "scaleFactor"),
    (on_dashboard(reportVariables={f"v{n}": "1" for n in range(101)}), VARIABLES),
    (on_dashboard(reportVariables={"v" * 201: "1"}), VARIABLES),
    (on_dashboard(reportVariables={"v": ["1"] * 1_001}), f"{VARIABLES}.v"),
    (on_dashboard(reportVariables={"v": ["1", "x" * 2_001]}), f"{VARIABLES}.v"),
    (body_with(formats="pdf"), "formats"),
    (body_with(formats=["pdf", 1]), "formats[1]"),
    (body_with(formats=[None]), "formats[0]"),
    (body_with(formats=[str(n) for n in range(21)]), "formats"),
    (body_with(options=[]), "options"),
    (body_with(options={"orientation": "diagonal"}), "options.orientation"),
    (body_with(options={"layout": 1}), "options.layout"),
    (body_with(options={"pdfCombineOneFile": "no"}), "options.pdfCombineOneFile"),
    (body_with(options={"pdfIncludeTables": "yes"}), "options.pdfIncludeTables"),
    (body_with(options={"csvValues": "both"}), "options.csvValues"),
    (body_with(options={"csvFormulaGuard": 1}), "options.csvFormulaGuard"),
    (body_with(options={"onIncomplete": "retry"}), "options.onIncomplete"),
    (body_with(options={"renderTimeout": 3600}), "options.renderTimeout"),
    (body_with(options={"timeZone": "Mars/Olympus"}), "options.timeZone"),
    (body_with(options={"timeRange": {"from": "x", "to": "now"}}), "options.timeRange"),
    (body_with(dashboards=...), "dashboards"),
    (body_with(dashboards=[]), "dashboards"),
    (body_with(dashboards={}), "dashboards"),
    (body_with(dashboards=[None]), "dashboards[0]"),
    (body_with(dashboards=["x"]), "dashboards[0]"),
    (body_with(dashboards=[{}]), "dashboards[0].dashboard.uid"),
    (body_with(dashboards=[{"dashboard": {"uid": ""}}]), "dashboards[0].dashboard.uid"),
    (body_with(dashboards=[{"dashboard": {"uid": 1}}]), "dashboards[0].dashboard.uid"),
    (body_with(dashboards=[{"dashboard": {"id": "1"}}]), "dashboards[0].dashboard.id"),
    (body_with(dashboards=[{"dashboard": {"uid": "x"}}] * 51), "dashboards"),
    (on_dashboard(timeRange="now"), "dashboards[0].timeRange"),
    (on_dashboard(timeRange={"from": 1}), "dashboards[0].timeRange.from"),
    (on_dashboard(timeRange={"from": "now-1h"}), "dashboards[0].timeRange"),
    (on_dashboard(timeRange={"from": "soon", "to": "now"}), "dashboards[0].timeRange"),
    (on_dashboard(timeRange={"from": "now", "to": "now-1h"}), "dashboards[0].timeRange"),
    (body_with(options={"timeRange": {"from": "now", "to": "now-1d"}}), "options.timeRange"),
    (on_dashboard(reportVariables=[]), "dashboards[0].reportVariables"),
    (on_dashboard(reportVariables={"a": {"b": 1}}), "dashboards[0].reportVariables.a"),
    (on_dashboard(reportVariables={"a": [True]}), "dashboards[0].reportVariables.a"),
    (on_dashboard(reportVariables={"a": "\ud800"}), "dashboards[0].reportVariables.a"),
    (body_with(schedule=...), "schedule.frequency"),
    (body_with(schedule={}), "schedule.frequency"),
    (body_with(schedule="daily"), "schedule"),
    (scheduled(frequency="yearly"), "schedule.frequency"),
    (scheduled(frequency=1), "schedule.frequency"),
    (scheduled(timeZone="Mars/Olympus"), "schedule.timeZone"),
    (scheduled(timeZone="../../etc/passwd"), "schedule.timeZone"),
    (scheduled(startDate="2030-01-01"), "schedule.startDate"),
    (scheduled(startDate="2030-01-01T08:00:00"), "schedule.startDate"),
    (scheduled(startDate="2030-02-30T08:00:00Z"), "schedule.startDate"),
    (scheduled(startDate="2030-01-01T24:00:00Z"), "schedule.startDate"),
    (scheduled(startDate="0001-01-01T00:00:00+05:00"), "schedule.startDate"),
    (scheduled(startDate=1_700_000_000), "schedule.startDate"),
    (scheduled(startDate=""), "schedule.startDate"),
    (
        scheduled(startDate="2030-01-01T08:00:00Z", endDate="2029-01-01T08:00:00Z"),
        "schedule.endDate",
    ),
    (scheduled(workdaysOnly="true"), "schedule.workdaysOnly"),
    (scheduled(dayOfMonth=2), "schedule.dayOfMonth"),
    (scheduled(dayOfMonth="32"), "schedule.dayOfMonth"),
    (scheduled(frequency="custom"), "schedule.intervalFrequency"),
    (
        scheduled(frequency="custom", intervalFrequency="days", intervalAmount=0),
        "schedule.intervalAmount",
    ),
    (
        scheduled(frequency="custom", intervalFrequency="days", intervalAmount=2.5),
        "schedule.intervalAmount",
    ),
    (
        scheduled(frequency="custom", intervalFrequency="years", intervalAmount=1),
        "schedule.intervalFrequency",
    ),
]


def test_a_wrong_field_is_named_by_its_path(admin):
    for body, field in WRONG:
        status, answer = admin("POST", "/api/reports", json.dumps(body))
        assert (status, list(answer)) == (400, ["message"]), body
        assert answer["message"].startswith(f"{field}: "), (body, answer)
    assert admin("GET", "/api/reports") == (200, [])


def test_a_wrong_field_is_named_in_a_replacement_too(admin):
    report_id = admin("POST", "/api/reports", report_body())[1]["id"]
    status, answer = admin("PUT", f"/api/reports/{report_id}", scheduled(timeZone="Mars"))
    assert status == 400
    assert answer["message"].startswith("schedule.timeZone: ")


def test_several_wrong_fields_are_all_named(admin):
    _, answer = admin("POST", "/api/reports", report_body(name=1, enableCsv="x"))
    assert answer["message"] == "name: must be text; enableCsv: must be true or false"


NOT_JSON = [
    (b"", "not JSON"),
    (b"{", "not JSON"),
    (b'{"name": "a",}', "not JSON"),
    (b"{{}", "not JSON"),
    (b"[]", "must be a JSON object"),
    (b'"text"', "must be a JSON object"),
    (b"null", "must be a JSON object"),
    (b'{"scaleFactor": NaN}', "NaN is not a number"),
    (b'{"scaleFactor": -Infinity}', "-Infinity is not a number"),
    (b'{"scaleFactor": 1e999}', "too large a number"),
    (b'{"scaleFactor": ' + b"9" * 5_000 + b"}", "not JSON"),
    (b'{"name": "a", "name": "b"}', '"name" occurs twice'),
    (b'{"name": "\xff"}', "UTF-8"),
    (b'{"na\\u0000me": 1}', "NUL"),
    (b'{"\\ud800": 1}', "surrogate"),
    (b"[" * 100_000, "nested more than"),
    (b'{"options": ' + b'{"a":' * 40 + b"1" + b"}" * 41, "nested more than"),
    ('{"name": "a"}'.encode("utf-16"), "UTF-8"),
]


def test_a_body_that_is_not_strictly_json_is_refused(admin):
    for content, says in NOT_JSON:
        status, answer = admin("POST", "/api/reports", content)
        assert (status, list(answer)) == (400, ["message"]), content[:50]
        assert says in answer["message"], content[:50]


@pytest.mark.parametrize("path", ["/api/reports", "/api/reports/email", "/api/reports/test-email"])
def test_a_body_of_another_content_type_is_400_as_in_grafana(admin, path):
    for kind in ("", "text/plain", "application/x-www-form-urlencoded", "application/jsonp"):
        status, answer = admin("POST", path, b'{"id": "1"}', content_type=kind)
        assert status == 400
        assert answer["message"].startswith("Content-Type: ")


def test_another_charset_is_refused(admin):
    kind = "application/json; charset=latin-1"
    assert admin("POST", "/api/reports", b"{}", content_type=kind)[0] == 400
    kind = "application/json; charset=UTF-8"
    body = json.dumps(report_body()).encode()
    assert admin("POST", "/api/reports", body, content_type=kind)[0] == 200


def test_a_huge_body_is_413(admin, settings):
    content = b'{"message": "' + b"x" * settings.max_body_bytes + b'"}'
    status, answer = admin("POST", "/api/reports", content)
    assert status == 413
    assert str(settings.max_body_bytes) in answer["message"]


def test_an_id_that_is_no_number_is_400(admin):
    for wrong in ("abc", "0", "-1", "1.5", "9223372036854775808", "1e3", "٣"):
        for method, body in (("GET", None), ("PUT", report_body()), ("DELETE", None)):
            status, answer = admin(method, f"/api/reports/{wrong}", body)
            assert (status, list(answer)) == (400, ["message"]), wrong


def test_a_report_that_is_not_there_is_404(admin):
    for method, body in (("GET", None), ("PUT", report_body()), ("DELETE", None)):
        answer = admin(method, "/api/reports/9223372036854775807", body)
        assert answer == (404, {"message": "Report not found"})


def test_an_unknown_address_is_404_in_json(admin):
    for path in ("/", "/api", "/api/report", "/api/reports/1/2", "/api/reports/runs/1/2"):
        assert admin("GET", path) == (404, {"message": "Not found"})


def test_a_wrong_method_is_405_and_names_the_right_ones(admin):
    for method, path, allowed in (
        ("PATCH", "/api/reports", {"GET", "HEAD", "POST"}),
        ("OPTIONS", "/api/reports", {"GET", "HEAD", "POST"}),
        ("POST", "/api/reports/1", {"GET", "HEAD", "PUT", "DELETE"}),
        ("GET", "/api/reports/email", {"POST"}),
        ("PUT", "/api/reports/settings", {"GET", "HEAD", "POST"}),
        ("DELETE", "/api/reports/test-email", {"POST"}),
    ):
        answer = admin.ask(method, path)
        assert (answer.status_code, answer.json) == (405, {"message": "Method not allowed"})
        assert {name.strip() for name in answer.headers["Allow"].split(",")} == allowed


def test_nul_in_an_address_is_refused(admin):
    for path in ("/api/reports/dashboards/a%00b", "/api/reports?query=%00", "/api/reports?%00=1"):
        status, answer = admin("GET", path)
        assert (status, list(answer)) == (400, ["message"])


def test_a_dashboard_that_is_not_there_is_404_naming_it(admin):
    status, answer = admin(
        "POST", "/api/reports", report_body(dashboards=[{"dashboard": {"uid": "gone"}}])
    )
    assert (status, answer) == (404, {"message": "Dashboard not found: gone"})


def test_a_dashboard_that_is_not_allowed_is_403_naming_it(admin, grafana):
    grafana.known["x"] = DashboardForbidden("Access denied to this dashboard: x")
    status, answer = admin("POST", "/api/reports", report_body())
    assert status == 403
    assert answer["message"].startswith("Access denied to this dashboard: x, for the service acc")


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [(GrafanaAway(), 503, "the log"), (GrafanaRefused(), 500, "BROADSHEET_GRAFANA_TOKEN")],
)
def test_a_grafana_that_does_not_help_is_told_saying_what_to_check(
    admin, grafana, fault, code, words
):
    grafana.known["x"] = fault
    status, answer = admin("POST", "/api/reports", report_body())
    assert status == code
    assert words in answer["message"]


def test_a_database_that_is_away_is_503(admin, pool):
    pool.close()
    for path in ("/api/reports", "/readyz"):
        answer = admin.ask("GET", path)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert "database" in answer.json["message"]
    assert admin("GET", "/healthz") == (200, {"status": "ok"})


def test_a_database_that_is_not_at_this_release_makes_it_unready_and_alive(admin, pool):
    assert admin("GET", "/readyz") == (200, {"status": "ok"})
    with db.transaction(pool) as conn:
        last = conn.execute(
            "DELETE FROM _yoyo_migration WHERE migration_id = "
            "(SELECT max(migration_id) FROM _yoyo_migration) RETURNING *"
        ).fetchone()
    answer = admin.ask("GET", "/readyz")
    assert answer.status_code == 503
    assert "run `broadsheet migrate`" in answer.json["message"]
    assert last["migration_id"] in answer.json["message"]
    assert admin("GET", "/healthz") == (200, {"status": "ok"})
    with db.transaction(pool) as conn:
        # The next test has the same database.
        conn.execute(
            "INSERT INTO _yoyo_migration VALUES (%s, %s, %s)",
            [last["migration_hash"], last["migration_id"], last["applied_at_utc"]],
        )
    assert admin("GET", "/readyz") == (200, {"status": "ok"})


def test_a_mistake_of_ours_is_500_in_json_without_its_text(admin, grafana):
    grafana.known["x"] = ZeroDivisionError("secret")
    status, answer = admin("POST", "/api/reports", report_body())
    assert status == 500
    assert "secret" not in answer["message"]


def test_no_answer_may_be_sniffed_framed_run_or_shared_with_another_site(admin):
    """Not an error either, nor a page that is for everybody."""
    for path, status in [
        *(("/api/reports", 200), ("/api/reports/9", 404), ("/api/reports/x", 400)),
        *(("/nowhere", 404), ("/healthz", 200), ("/metrics", 200), ("/api/openapi.json", 200)),
        *(("/api/docs", 200), ("/api/docs/docs.js", 200)),
    ]:
        answer = admin.ask("GET", path)
        answer.close()
        headers = answer.headers
        assert answer.status_code == status, path
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
        assert "Strict-Transport-Security" not in headers
        assert "Access-Control-Allow-Origin" not in headers
        if not path.startswith("/api/docs"):
            assert headers["Cache-Control"] == "no-store"


class FrozenPool:
    """A database that keeps everybody waiting, as a stopped server does, until `thaw`."""

    def __init__(self) -> None:
        self.thaw = threading.Event()

    def connection(self):
        self.thaw.wait()
        raise DatabaseAway


def test_a_database_that_is_frozen_makes_the_process_unready_and_does_not_hang_it(
    settings, bell, grafana, waiter, clock
):
    pool = FrozenPool()
    app = create_app(settings, pool=pool, bell=bell, grafana=grafana, waiter=waiter, clock=clock)
    answer = app.test_client().get("/readyz")
    pool.thaw.set()
    assert answer.status_code == 503
    assert "BROADSHEET_DATABASE_URL" in answer.json["message"]
