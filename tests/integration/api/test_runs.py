"""The history of a report: runs, what became of them, and their files."""

from __future__ import annotations

import datetime as dt

import pytest

from shared import admission, captures, db, deliveries, documents, reports, runs
from tests.integration.api.fakes import NOW, report_body
from workers.capture.verdict import STATES, Panel, Verdict

VERDICT = Verdict(panels=(Panel(key="1", title="CPU", type="stat", state="ok", milliseconds=12),))
STAGES = {
    "preflight": 31,
    "browser": 4,
    "open": 210,
    "ready": 900,
    "csv": 80,
    "image": 120,
    "pdf": 340,
}


@pytest.fixture(autouse=True)
def _report_1(admin):
    """A stored report, the first."""
    assert admin("POST", "/api/reports", report_body())[1]["id"] == 1


def made(pool: db.Pool, *, slot: int = 0, kind: str = runs.SCHEDULE, report_id: int | None = 1):
    """Store a run of report 1 and return its id."""
    with db.transaction(pool) as conn:
        spec = reports.get(conn, 1, 1).spec()
        found = admission.insert(
            conn,
            runs.NewRun(
                org_id=1,
                report_id=report_id,
                report_revision=1,
                kind=kind,
                scheduled_for=NOW + dt.timedelta(hours=slot),
                spec=spec,
            ),
        )
    assert found
    return found[0]


def sent(pool: db.Pool, run_id: int) -> None:
    """Take a run through all its states, with two recipients of whom one gets nothing."""
    with db.transaction(pool) as conn:
        runs.start(conn, [run_id])
        (capture,) = captures.of_run(conn, run_id)
        captures.start(conn, capture.id, 1)
        documents.put_part(conn, capture.id, "pdf", "part.pdf", b"part")
        captures.told(
            conn,
            capture.id,
            facts={"title": "X as shown"},
            verdict=VERDICT.to_json(),
            timings=STAGES,
        )
        captures.done(conn, capture.id)
        documents.put(conn, run_id, "pdf", "Übersicht.pdf", b"%PDF-1.7")
        documents.put(conn, run_id, "csv", "t.csv", b"a\n")
        assert runs.rendered(conn, run_id, {"subject": "s"}, complete=True, milliseconds=31.4)
        deliveries.insert(conn, run_id, ("a@b.c", "d@e.f"), domain="example.org", lane="scheduled")
        first, second = deliveries.of_run(conn, run_id)
        deliveries.start(conn, first.id, 1)
        deliveries.finish(conn, first.id, "sent", 250, None)
        deliveries.finish(conn, second.id, "failed", 550, "no such user")
        assert deliveries.settle_run(conn, run_id) == "partial"


def test_the_runs_of_a_report_are_a_bare_array_newest_first(admin, pool):
    first, second = made(pool), made(pool, slot=1)
    answer = admin.ask("GET", "/api/reports/1/runs")
    assert [run["id"] for run in answer.json] == [second, first]
    assert answer.headers["X-Total-Count"] == "2"
    assert answer.json[1] == {
        "id": first,
        "reportId": 1,
        "reportRevision": 1,
        "kind": "schedule",
        "name": "my report",
        "state": "queued",
        "cause": None,
        "complete": None,
        "scheduledFor": "2026-03-04T10:30:00Z",
        "notBefore": None,
        "created": answer.json[1]["created"],
        "started": None,
        "rendered": None,
        "finished": None,
        "stages": {"queued": None, "rendering": None, "assemble": None, "delivering": None},
        "href": f"/api/reports/runs/{first}",
    }


def test_runs_are_filtered_and_paged(admin, pool):
    ids = [made(pool, slot=n) for n in range(3)]
    by_api = made(pool, kind=runs.API)
    with db.transaction(pool) as conn:
        runs.finish(conn, ids[0], "failed", "Grafana was away")

    def found(query):
        return [run["id"] for run in admin("GET", f"/api/reports/1/runs?{query}")[1]]

    assert found("state=failed") == [ids[0]]
    assert found("kind=api") == [by_api]
    assert found("limit=2") == [by_api, ids[2]]
    assert found("perpage=2&page=2") == [ids[1], ids[0]]
    answer = admin.ask("GET", "/api/reports/1/runs?kind=schedule&limit=2")
    assert answer.headers["X-Total-Count"] == "3"
    assert 'offset=2>; rel="next"' in answer.headers["Link"]
    for query in ("state=gone", "kind=other", "limit=0", "page=x"):
        assert admin("GET", f"/api/reports/1/runs?{query}")[0] == 400


@pytest.mark.parametrize("path", ["1/runs", "runs", "deliveries", "audit", "tokens"])
def test_a_list_of_our_own_names_a_parameter_that_it_does_not_know(admin, path):
    status, answer = admin("GET", f"/api/reports/{path}?limit=5&sate=failed")
    assert status == 400
    assert answer["message"].startswith("sate: is no parameter of this list (")
    assert "limit" in answer["message"]


@pytest.mark.parametrize("path", ["", "/dashboards/x"])
def test_a_list_that_grafana_has_passes_over_what_it_does_not_know(admin, path):
    status, answer = admin("GET", f"/api/reports{path}?folderIds=3&_=17")
    assert (status, len(answer)) == (200, 1)


def test_a_run_whose_slot_is_spread_says_when_it_may_begin_until_it_has(admin, pool):
    with db.transaction(pool) as conn:
        slot = db.clock(conn).replace(microsecond=0)
        new = runs.NewSlot(org_id=1, report_id=1, report_revision=1, scheduled_for=slot, aside=900)
        [row] = runs.insert_slots(conn, [new], lifetime=60)
    begins = (slot + dt.timedelta(seconds=900)).strftime("%Y-%m-%dT%H:%M:%SZ")
    address = f"/api/reports/runs/{row['id']}"
    assert admin("GET", address)[1]["notBefore"] == begins
    with db.transaction(pool) as conn:
        runs.cancel(conn, row["id"], "test")
    assert admin("GET", address)[1]["notBefore"] is None


def test_a_run_tells_what_became_of_it_stage_by_stage(admin, pool):
    run_id = made(pool)
    sent(pool, run_id)
    status, run = admin("GET", f"/api/reports/runs/{run_id}")
    assert status == 200
    assert (run["state"], run["cause"]) == ("partial", "d@e.f: no such user")
    assert run["stages"]["assemble"] == 31
    assert all(type(run["stages"][name]) is int for name in ("queued", "rendering", "delivering"))
    assert run["started"] <= run["rendered"] <= run["finished"]
    (capture,) = run["captures"]
    assert capture["dashboard"] == {"uid": "x", "name": "X as shown"}
    assert capture["verdict"]["panels"][0]["state"] == "ok"
    # In the order of their happening, as the page of a run shows them.
    assert list(capture["stages"].items()) == list(STAGES.items())
    assert list(capture["verdict"]["counts"]) == list(STATES)
    assert [
        (mail["recipient"], mail["state"], mail["smtpCode"], mail["cause"])
        for mail in run["deliveries"]
    ] == [("a@b.c", "sent", 250, None), ("d@e.f", "failed", 550, "no such user")]
    assert [(file["name"], file["kind"], file["size"]) for file in run["documents"]] == [
        ("Übersicht.pdf", "pdf", 8),
        ("t.csv", "csv", 2),
    ]


def test_the_files_of_a_run_are_listed_and_given_with_their_names(admin, pool):
    run_id = made(pool)
    sent(pool, run_id)
    status, files = admin("GET", f"/api/reports/runs/{run_id}/documents")
    assert (status, len(files)) == (200, 2)
    answer = admin.ask("GET", files[0]["href"])
    assert (answer.status_code, answer.data) == (200, b"%PDF-1.7")
    assert answer.headers["Content-Type"] == "application/pdf"
    assert answer.headers["Content-Disposition"] == (
        "attachment; filename=Ubersicht.pdf; filename*=UTF-8''%C3%9Cbersicht.pdf"
    )
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_file_is_found_only_in_its_own_run_and_parts_are_not_shown(admin, pool):
    run_id, other = made(pool), made(pool, slot=1)
    sent(pool, run_id)
    files = admin("GET", f"/api/reports/runs/{run_id}/documents")[1]
    shown = {file["id"] for file in files}
    assert admin("GET", f"/api/reports/runs/{other}/documents/{files[0]['id']}")[0] == 404
    with db.transaction(pool) as conn:
        rows = conn.execute("SELECT id FROM document WHERE capture_id IS NOT NULL").fetchall()
    for part in rows:
        assert part["id"] not in shown
        assert admin("GET", f"/api/reports/runs/{run_id}/documents/{part['id']}")[0] == 404


def test_what_is_not_there_is_404_and_what_is_no_id_400(admin, pool):
    run_id = made(pool)
    assert admin("GET", "/api/reports/99/runs") == (404, {"message": "Report not found"})
    assert admin("GET", "/api/reports/runs/99") == (404, {"message": "Run not found"})
    assert admin("GET", "/api/reports/runs/99/documents")[0] == 404
    assert admin("GET", f"/api/reports/runs/{run_id}/documents/99")[0] == 404
    for path in ("runs/x", "runs/x/documents", f"runs/{run_id}/documents/x", "x/runs"):
        assert admin("GET", f"/api/reports/{path}")[0] == 400


def test_a_run_is_for_those_who_may_read_its_report(caller, pool):
    run_id = made(pool)
    paths = [f"/api/reports/runs/{run_id}{rest}" for rest in ("", "/documents")]
    for path in [*paths, "/api/reports/1/runs"]:
        assert caller(permissions={"reports:read": ["reports:id:1"]})("GET", path)[0] == 200
        assert caller(permissions={"reports:read": ["reports:id:2"]})("GET", path)[0] == 403
        assert caller(role="Viewer")("GET", path)[0] == 403
        assert caller(role="Admin", org_id=2)("GET", path)[0] == 404
        assert caller(None)("GET", path)[0] == 401


def test_a_run_without_a_report_is_for_those_who_may_read_all(caller, pool):
    path = f"/api/reports/runs/{made(pool, kind=runs.TEST, report_id=None)}"
    assert caller(permissions={"reports:read": ["reports:*"]})("GET", path)[0] == 200
    assert caller(permissions={"reports:read": ["reports:id:1"]})("GET", path)[0] == 403


EXPORT = ("GET", "/api/reports/render/csvs?dashboards=x", None)
MAIL = ("POST", "/api/reports/email", {"id": 1, "emails": "a@b.c"})
SENDER = {"permissions": {"reports:send": ["*"]}}


@pytest.mark.parametrize(
    ("how", "call"), [({"role": "Viewer"}, EXPORT), ({"role": "Editor"}, EXPORT), (SENDER, MAIL)]
)
def test_who_asked_for_a_run_may_follow_it_and_nobody_else_without_permission(
    caller, pool, waiter, how, call
):
    waiter.work = lambda _: False
    asker = caller(**how)
    answer = asker.ask(*call)
    assert answer.status_code == 504
    address = answer.headers["Location"]
    with db.transaction(pool) as conn:
        file = documents.put(conn, answer.json["runId"], "csv", "a.csv", b"a\n")
    for path in ("", "/documents", f"/documents/{file}"):
        assert asker("GET", address + path)[0] == 200
        assert caller(**how)("GET", address + path)[0] == 403
        assert (
            caller(permissions={"reports:read": ["reports:id:2"]})("GET", address + path)[0] == 403
        )
        assert caller(role="Admin")("GET", address + path)[0] == 200
        assert caller(role="Admin", org_id=2)("GET", address + path)[0] == 404
        assert caller(None)("GET", address + path)[0] == 401
    assert asker("GET", "/api/reports/1/runs")[0] == 403
    assert asker("GET", "/api/reports/runs/99")[0] == 403
    assert asker("GET", "/api/reports/runs/x")[0] == 400


def test_a_run_of_the_schedule_was_asked_for_by_nobody(caller, pool):
    assert caller(role="Viewer")("GET", f"/api/reports/runs/{made(pool)}")[0] == 403


def test_the_runs_of_a_deleted_report_stay_to_be_read(admin, pool):
    run_id = made(pool)
    sent(pool, run_id)
    admin("DELETE", "/api/reports/1")
    status, run = admin("GET", f"/api/reports/runs/{run_id}")
    assert (status, run["reportId"], run["name"]) == (200, None, "my report")


def test_the_next_slots_of_a_schedule_are_shown_on_its_own_clock(admin):
    body = {
        "schedule": {
            "frequency": "daily",
            "timeZone": "Europe/Warsaw",
            "startDate": "2026-03-27T02:30:00+01:00",
        },
        "after": "2026-03-27T12:00:00Z",
        "count": 3,
    }
    status, answer = admin("POST", "/api/reports/schedule/preview", body)
    assert status == 200
    assert answer == {
        "timeZone": "Europe/Warsaw",
        "occurrences": [
            {
                "instant": "2026-03-28T01:30:00Z",
                "local": "2026-03-28T02:30:00",
                "offset": "+01:00",
            },
            {
                "instant": "2026-03-29T01:30:00Z",
                "local": "2026-03-29T03:30:00",
                "offset": "+02:00",
            },
            {
                "instant": "2026-03-30T00:30:00Z",
                "local": "2026-03-30T02:30:00",
                "offset": "+02:00",
            },
        ],
    }


def test_a_preview_shows_five_slots_from_now_unless_told(admin):
    body = {"schedule": {"frequency": "hourly"}}
    answer = admin("POST", "/api/reports/schedule/preview", body)[1]["occurrences"]
    assert [slot["instant"][11:16] for slot in answer] == [
        "10:30", "11:30", "12:30", "13:30", "14:30",
    ]  # fmt: skip
    over = {"frequency": "once", "startDate": "2020-01-01T00:00:00Z"}
    answer = admin("POST", "/api/reports/schedule/preview", {"schedule": over})
    assert (answer[0], answer[1]["occurrences"]) == (200, [])


WRONG_PREVIEWS = [
    ({}, "schedule"),
    ({"schedule": {}}, "schedule.frequency"),
    ({"schedule": {"frequency": "daily", "timeZone": "x"}}, "schedule.timeZone"),
    ({"schedule": {"frequency": "daily"}, "count": 0}, "count"),
    ({"schedule": {"frequency": "daily"}, "count": 101}, "count"),
    ({"schedule": {"frequency": "daily"}, "after": "now"}, "after"),
]


def test_a_preview_of_nothing_is_400(admin):
    for body, field in WRONG_PREVIEWS:
        status, answer = admin("POST", "/api/reports/schedule/preview", body)
        assert status == 400
        assert answer["message"].startswith(f"{field}: ")


def test_a_run_that_waits_is_cancelled_and_nothing_of_it_is_left_to_do(pool, admin):
    run_id = made(pool)
    assert admin("POST", f"/api/reports/runs/{run_id}/cancel")[0] == 200
    status, body = admin("GET", f"/api/reports/runs/{run_id}")
    assert (status, body["state"]) == (200, "cancelled")
    assert "cancelled" in body["cause"]


def test_a_run_of_another_organisation_is_not_there_to_be_cancelled(pool, admin, caller):
    run_id = made(pool)
    others = caller(role="Admin", org_id=2)
    path = f"/api/reports/runs/{run_id}/cancel"
    assert others("POST", path) == (404, {"message": "Run not found"})
    assert caller(permissions={"reports:send": ["reports:id:1"]}, org_id=2)("POST", path)[0] == 403
    assert admin("GET", f"/api/reports/runs/{run_id}")[1]["state"] == "queued"
    with db.transaction(pool) as conn:
        assert conn.execute("SELECT count(*) AS n FROM task").fetchone()["n"] == 1


def test_what_is_rendered_or_over_is_not_cancelled(pool, admin):
    run_id = made(pool)
    sent(pool, run_id)
    status, body = admin("POST", f"/api/reports/runs/{run_id}/cancel")
    assert status == 409
    assert "cannot be cancelled" in body["message"]
    assert admin("POST", "/api/reports/runs/4711/cancel")[0] == 404


def test_the_runs_of_all_reports_are_one_list_for_those_who_may_read_all(pool, admin, caller):
    ids = [made(pool), made(pool, slot=1, kind=runs.API, report_id=None)]
    assert [run["id"] for run in admin("GET", "/api/reports/runs")[1]] == ids[::-1]
    assert admin("GET", "/api/reports/runs?state=failed")[1] == []
    narrow = caller(permissions={"reports:read": ["reports:id:1"]})
    assert narrow("GET", "/api/reports/runs")[0] == 403
