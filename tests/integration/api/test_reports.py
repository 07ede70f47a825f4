"""Creating, reading, replacing, deleting, listing, pausing and resuming reports."""

from __future__ import annotations

import datetime as dt

import pytest

from shared import admission, db, reports, runs
from tests.integration.api.fakes import NOW, report_body


def created(admin, **changes) -> int:
    status, answer = admin("POST", "/api/reports", report_body(**changes))
    assert status == 200, answer
    return answer["id"]


def read(admin, report_id: int):
    status, answer = admin("GET", f"/api/reports/{report_id}")
    assert status == 200, answer
    return answer


def test_creating_answers_with_a_number_and_grafanas_message(admin):
    status, answer = admin("POST", "/api/reports", report_body())
    assert status == 200
    assert answer == {"id": answer["id"], "message": "Report created"}
    assert type(answer["id"]) is int


def test_a_report_is_read_as_it_was_written(admin):
    body = report_body(
        subject="Figures",
        recipients="a@b.c; d@e.f ,g@h.i",
        replyTo="desk@b.c",
        message="Hi,\nhere it is.\n",
        enableCsv=True,
        scaleFactor=3,
        formats=["csv", "image", "pdf", "csv", "pdf-tables"],
        dashboards=[
            {
                "dashboard": {"uid": "x"},
                "timeRange": {"from": "now-1h", "to": "now"},
                "reportVariables": {"query0": ["a", "b"], "one": "text"},
            },
            {"dashboard": {"uid": "7MeksYbmk"}},
        ],
        options={
            "layout": "simple",
            "orientation": "portrait",
            "pdfCombineOneFile": True,
            "fromTheFuture": {"a": [1]},
        },
        schedule={
            "frequency": "custom",
            "intervalFrequency": "weeks",
            "intervalAmount": 2,
            "workdaysOnly": True,
            "startDate": "2030-06-03T09:00:00+02:00",
            "endDate": "2031-01-31T09:00:00+01:00",
            "timeZone": "Europe/Warsaw",
        },
    )
    answer = read(admin, created(admin, **body))
    assert {name: answer[name] for name in body if name in answer} == {
        **body,
        "recipients": "a@b.c,d@e.f,g@h.i",
        "formats": ["csv", "image", "pdf", "pdf-tables"],
        "dashboards": [
            {
                "dashboard": {"id": 463, "uid": "x", "name": "X"},
                "timeRange": {"from": "now-1h", "to": "now"},
                "reportVariables": {"query0": ["a", "b"], "one": "text"},
            },
            {
                "dashboard": {"id": 463, "uid": "7MeksYbmk", "name": "Alerting with TestData"},
                "timeRange": {"from": "", "to": ""},
                "reportVariables": {},
            },
        ],
        "schedule": {**body["schedule"], "dayOfMonth": ""},
    }
    assert answer["state"] == "scheduled"
    assert answer["nextRun"] == "2030-06-03T09:00:00+02:00"
    assert answer["created"] == answer["updated"] == "2026-03-04T11:30:00+01:00"
    assert answer["uid"]
    assert (answer["orgId"], type(answer["userId"])) == (1, int)


def test_a_report_without_start_begins_now(admin):
    answer = read(admin, created(admin))
    assert answer["schedule"]["startDate"] == "2026-03-04T10:30:00Z"
    assert answer["schedule"]["endDate"] is None
    assert answer["nextRun"] == "2026-03-04T10:30:00Z"


def test_a_report_that_is_never_due_has_no_dates_and_does_not_expire(admin):
    answer = read(admin, created(admin, schedule={"frequency": "never", "timeZone": "GMT"}))
    assert answer["schedule"]["startDate"] is None
    assert answer["nextRun"] is None
    assert answer["state"] == "scheduled"


@pytest.mark.parametrize(
    "rule",
    [
        {"frequency": "once", "startDate": "2020-01-01T07:00:00Z"},
        {
            "frequency": "daily",
            "startDate": "2020-01-01T07:00:00Z",
            "endDate": "2020-02-01T07:00:00Z",
        },
    ],
)
def test_a_schedule_that_is_over_is_taken_and_expired(admin, rule):
    assert read(admin, created(admin, schedule=rule))["state"] == "expired"


def test_an_expired_report_is_scheduled_again_by_a_new_end(admin):
    rule = {
        "frequency": "daily",
        "startDate": "2020-01-01T07:00:00Z",
        "endDate": "2020-02-01T07:00:00Z",
    }
    report_id = created(admin, schedule=rule)
    answer = read(admin, report_id)
    answer["schedule"]["endDate"] = "2030-01-01T00:00:00Z"
    admin("PUT", f"/api/reports/{report_id}", answer)
    answer = read(admin, report_id)
    assert answer["state"] == "scheduled"
    assert answer["nextRun"] == "2026-03-05T07:00:00Z"


@pytest.mark.parametrize(
    ("zone", "sent", "shown"),
    [
        ("GMT", "2020-01-01T07:00:00.000Z", "2020-01-01T07:00:00Z"),
        ("UTC", "2020-07-01T07:00:00.5+02:00", "2020-07-01T05:00:00.5Z"),
        ("America/New_York", "2024-02-10T20:00:00.000Z", "2024-02-10T15:00:00-05:00"),
        ("America/New_York", "2024-07-10T20:00:00.000Z", "2024-07-10T16:00:00-04:00"),
        ("Europe/London", "2024-02-10T20:00:00.000-05:00", "2024-02-11T01:00:00Z"),
        ("Asia/Kathmandu", "2024-02-10T20:00:00Z", "2024-02-11T01:45:00+05:45"),
    ],
)
def test_times_are_shown_in_the_offset_of_the_reports_zone(admin, zone, sent, shown):
    rule = {"frequency": "daily", "timeZone": zone, "startDate": sent}
    assert read(admin, created(admin, schedule=rule))["schedule"]["startDate"] == shown


def test_intervals_are_empty_unless_the_frequency_is_custom(admin):
    rule = {"frequency": "daily", "intervalFrequency": "weeks", "intervalAmount": 2}
    answer = read(admin, created(admin, schedule=rule))["schedule"]
    assert (answer["intervalFrequency"], answer["intervalAmount"]) == ("", 0)


def test_the_last_day_of_the_month_keeps_the_words_it_came_in(admin):
    monthly = {"frequency": "monthly", "dayOfMonth": "last"}
    assert read(admin, created(admin, schedule=monthly))["schedule"]["dayOfMonth"] == "last"
    last = {"frequency": "last"}
    assert read(admin, created(admin, schedule=last))["schedule"]["frequency"] == "last"


def test_null_and_absent_are_the_same(admin):
    body = report_body(message=None, replyTo=None, options=None, enableCsv=None, formats=None)
    body["schedule"] = {**body["schedule"], "startDate": None, "endDate": None}
    body["dashboards"][0].update(timeRange=None, reportVariables=None)
    answer = read(admin, created(admin, **body))
    assert answer["message"] == ""
    assert answer["options"] == {}
    assert answer["formats"] == ["pdf"]
    assert answer["dashboards"][0]["reportVariables"] == {}


def test_replacing_empties_what_is_absent(admin):
    report_id = created(
        admin, message="Hi", replyTo="a@b.c", enableCsv=True, formats=["csv"], state="paused"
    )
    status, answer = admin(
        "PUT", f"/api/reports/{report_id}", report_body(enableDashboardUrl=..., formats=...)
    )
    assert (status, answer) == (200, {"message": "Report updated"})
    answer = read(admin, report_id)
    assert (answer["message"], answer["replyTo"]) == ("", "")
    assert (answer["enableCsv"], answer["enableDashboardUrl"]) == (False, False)
    assert answer["formats"] == ["pdf"]


def test_replacing_keeps_what_terraform_cannot_express(admin, clock):
    kept = {"state": "paused", "subject": "Figures", "scaleFactor": 3}
    options = {"pdfCombineOneFile": True, "pdfShowTemplateVariables": True, "csvEncoding": "x"}
    report_id = created(admin, **kept, options={**options, "orientation": "portrait"})
    before = read(admin, report_id)
    clock.time += dt.timedelta(days=1)
    admin("PUT", f"/api/reports/{report_id}", report_body())
    after = read(admin, report_id)
    assert {name: after[name] for name in kept} == kept
    assert after["options"] == {**options, "orientation": "landscape", "layout": "grid"}
    assert after["schedule"]["startDate"] == before["schedule"]["startDate"]
    assert after["created"] == before["created"]
    assert after["updated"] == "2026-03-05T10:30:00Z"
    assert after["uid"] == before["uid"]


def test_an_edit_raises_the_revision_and_moves_the_next_slot(admin, pool):
    report_id = created(admin)
    rule = {"frequency": "daily", "startDate": "2030-01-01T08:00:00Z"}
    admin("PUT", f"/api/reports/{report_id}", report_body(schedule=rule))
    with db.transaction(pool) as conn:
        stored = reports.get(conn, 1, report_id)
    assert stored.revision == 2
    assert stored.next_run_at == dt.datetime(2030, 1, 1, 8, tzinfo=dt.UTC)


def next_run(pool: db.Pool, report_id: int) -> dt.datetime | None:
    with db.transaction(pool) as conn:
        return reports.get(conn, 1, report_id).next_run_at


def history(pool: db.Pool, report_id: int) -> list[runs.Run]:
    with db.transaction(pool) as conn:
        return runs.find(conn, 1, report_id)


@pytest.mark.parametrize("away", [dt.timedelta(minutes=20), dt.timedelta(days=3)])
def test_an_edit_leaves_a_due_slot_to_beat_which_may_be_away(admin, pool, clock, away):
    report_id = created(admin)
    due = next_run(pool, report_id)
    clock.time += away
    # Both forms that clients send: all as it was read, and without what they do not know.
    for body in (read(admin, report_id), report_body()):
        body["name"] = "Renamed"
        assert admin("PUT", f"/api/reports/{report_id}", body)[0] == 200
        assert next_run(pool, report_id) == due
    assert history(pool, report_id) == []


def test_a_due_slot_whose_rule_is_changed_is_written_down_as_missed(admin, pool, clock):
    report_id = created(admin)
    due = next_run(pool, report_id)
    clock.time += dt.timedelta(minutes=20)
    rule = {"frequency": "daily", "startDate": "2026-03-01T08:00:00Z"}
    body = report_body(name="Renamed", schedule=rule)
    assert admin("PUT", f"/api/reports/{report_id}", body)[0] == 200
    (missed,) = history(pool, report_id)
    assert (missed.kind, missed.state, missed.scheduled_for) == ("schedule", "missed", due)
    assert missed.cause == "The schedule was changed before any beat claimed this slot."
    assert (missed.report_revision, missed.spec.name) == (1, "my report")
    assert next_run(pool, report_id) == dt.datetime(2026, 3, 5, 8, tzinfo=dt.UTC)


def test_a_slot_that_was_not_yet_due_is_not_missed(admin, pool):
    report_id = created(admin, schedule={"frequency": "daily", "startDate": "2026-03-05T08:00:00Z"})
    assert admin("PUT", f"/api/reports/{report_id}", report_body())[0] == 200
    assert history(pool, report_id) == []


def test_a_range_is_judged_at_the_slot_it_is_for(admin):
    """From midnight to eight hours ago: a range in the evening, and none in the morning."""
    items = [{"dashboard": {"uid": "x"}, "timeRange": {"from": "now/d", "to": "now-8h"}}]

    def answer(hour: str, **changes):
        rule = {"frequency": "daily", "startDate": f"2026-03-05T{hour}:00:00Z"}
        return admin(
            "POST", "/api/reports", report_body(dashboards=items, schedule=rule, **changes)
        )

    assert answer("18")[0] == 200
    status, sentence = answer("06")
    assert status == 400
    assert sentence["message"].startswith("dashboards[0].timeRange: ")
    # Without a slot, now counts, which is half past ten.
    assert answer("06", state="paused")[0] == 200


def test_a_report_given_back_as_it_was_read_stays_the_same(admin):
    report_id = created(admin, formats=["csv", "later"], state="draft")
    before = read(admin, report_id)
    assert admin("PUT", f"/api/reports/{report_id}", before)[0] == 200
    assert read(admin, report_id) == before


def test_a_draft_may_lack_everything_and_grafana_is_not_asked(admin, grafana):
    status, answer = admin("POST", "/api/reports", {"state": "draft"})
    assert status == 200
    answer = read(admin, answer["id"])
    assert answer["state"] == "draft"
    assert answer["schedule"]["timeZone"] == "GMT"
    assert grafana.asked == []


def test_a_draft_is_completed_by_an_edit(admin):
    report_id = admin("POST", "/api/reports", {"state": "draft"})[1]["id"]
    status, answer = admin("PUT", f"/api/reports/{report_id}", {"state": "scheduled"})
    assert status == 400
    assert "schedule.frequency" in answer["message"]
    body = report_body(state="scheduled")
    assert admin("PUT", f"/api/reports/{report_id}", body)[0] == 200
    assert read(admin, report_id)["state"] == "scheduled"


def test_the_form_from_before_grafana_9_is_taken(admin):
    body = report_body(
        dashboards=...,
        dashboardId=3,
        dashboardUid="x",
        templateVars={"host": ["a"]},
        options={"timeRange": {"from": "now-1d", "to": "now"}},
    )
    status, answer = admin("POST", "/api/reports", body)
    assert status == 200, answer
    answer = read(admin, answer["id"])
    assert answer["dashboards"][0]["dashboard"]["uid"] == "x"
    assert answer["dashboards"][0]["reportVariables"] == {"host": ["a"]}
    assert "dashboardUid" not in answer


def test_deleting_removes_the_report_and_cancels_what_nobody_began(admin, pool):
    report_id = created(admin)
    run_id = queued_run(pool, report_id)
    status, answer = admin("DELETE", f"/api/reports/{report_id}")
    assert (status, answer) == (200, {"message": "Report config was removed"})
    assert admin("GET", f"/api/reports/{report_id}")[0] == 404
    assert admin("DELETE", f"/api/reports/{report_id}")[0] == 404
    with db.transaction(pool) as conn:
        assert runs.get(conn, run_id).state == "cancelled"


def test_pausing_clears_the_next_slot_and_cancels_what_nobody_began(admin, pool):
    report_id = created(admin)
    run_id = queued_run(pool, report_id)
    assert admin("POST", f"/api/reports/{report_id}/pause")[0] == 200
    answer = read(admin, report_id)
    assert (answer["state"], answer["nextRun"]) == ("paused", None)
    with db.transaction(pool) as conn:
        assert runs.get(conn, run_id).state == "cancelled"


def test_resuming_computes_the_next_slot_from_now_and_catches_nothing_up(admin, clock):
    report_id = created(admin)
    assert admin("PUT", f"/api/reports/{report_id}", report_body(state="paused"))[0] == 200
    clock.time += dt.timedelta(days=10, minutes=7)
    assert admin("POST", f"/api/reports/{report_id}/resume")[0] == 200
    answer = read(admin, report_id)
    assert (answer["state"], answer["nextRun"]) == ("scheduled", "2026-03-14T11:30:00Z")


@pytest.mark.parametrize("change", ["pause", "resume"])
def test_a_draft_is_neither_paused_nor_resumed(admin, change):
    report_id = admin("POST", "/api/reports", {"state": "draft"})[1]["id"]
    status, answer = admin("POST", f"/api/reports/{report_id}/{change}")
    assert status == 400
    assert answer["message"].startswith("state: ")


def test_pausing_twice_changes_nothing_more(admin, pool):
    report_id = created(admin)
    for _ in range(2):
        assert admin("POST", f"/api/reports/{report_id}/pause")[0] == 200
    with db.transaction(pool) as conn:
        assert reports.get(conn, 1, report_id).revision == 2


def test_a_list_is_a_bare_array_in_the_order_of_creation(admin):
    ids = [created(admin, name=f"r{n}") for n in range(3)]
    answer = admin.ask("GET", "/api/reports")
    assert [item["id"] for item in answer.json] == ids
    assert answer.headers["X-Total-Count"] == "3"
    assert "Link" not in answer.headers


def test_an_empty_list_is_an_empty_array(admin):
    assert admin("GET", "/api/reports") == (200, [])


@pytest.mark.parametrize("page", ["limit=2&offset=2", "perpage=2&page=2"])
def test_a_page_comes_with_the_total_and_its_neighbours(admin, page):
    ids = [created(admin, name=f"r{n}") for n in range(5)]
    answer = admin.ask("GET", f"/api/reports?query=r&{page}")
    assert [item["id"] for item in answer.json] == ids[2:4]
    assert answer.headers["X-Total-Count"] == "5"
    assert answer.headers["Link"] == (
        '</api/reports?query=r&limit=2&offset=0>; rel="first", '
        '</api/reports?query=r&limit=2&offset=0>; rel="prev", '
        '</api/reports?query=r&limit=2&offset=4>; rel="next"'
    )


def test_a_link_names_an_address_that_no_header_could_hold(admin):
    answer = admin.ask("GET", "/api/reports/dashboards/%E2%82%AC%0D%0A?limit=1&query=%E2%82%AC")
    assert answer.status_code == 200
    assert "</api/reports/dashboards/%E2%82%AC%0D%0A?query=%E2%82%AC&" in answer.headers["Link"]


def test_a_list_is_filtered_and_sorted(admin):
    created(admin, name="Beta", state="paused")
    created(admin, name="alpha")
    created(admin, name="Alphabet", dashboards=[{"dashboard": {"uid": "7MeksYbmk"}}])

    def names(query):
        return [item["name"] for item in admin("GET", f"/api/reports?{query}")[1]]

    assert names("state=paused") == ["Beta"]
    assert names("query=ALPHA") == ["alpha", "Alphabet"]
    assert names("dashboardUid=7MeksYbmk") == ["Alphabet"]
    assert names("sort=-id") == ["Alphabet", "alpha", "Beta"]
    assert names("something=else") == ["Beta", "alpha", "Alphabet"]


WRONG_QUERIES = [
    ("limit=0", "limit"),
    ("limit=1_0", "limit"),
    ("limit=many", "limit"),
    ("offset=-1", "offset"),
    ("page=0", "page"),
    ("limit=1&page=2", "limit"),
    ("state=asleep", "state"),
    ("sort=size", "sort"),
    ("offset=99999999999999999999", "offset"),
]


def test_a_query_that_means_nothing_is_refused(admin):
    for query, field in WRONG_QUERIES:
        status, answer = admin("GET", f"/api/reports?{query}")
        assert status == 400
        assert answer["message"].startswith(f"{field}: ")


def test_the_reports_of_a_dashboard_are_listed(admin):
    created(admin)
    mine = created(admin, dashboards=[{"dashboard": {"uid": "7MeksYbmk"}}])
    status, answer = admin("GET", "/api/reports/dashboards/7MeksYbmk")
    assert (status, [item["id"] for item in answer]) == (200, [mine])
    assert admin("GET", "/api/reports/dashboards/unknown") == (200, [])


def test_another_org_sees_nothing_of_it(admin, caller):
    report_id = created(admin)
    stranger = caller(role="Admin", org_id=2)
    assert stranger("GET", "/api/reports") == (200, [])
    for method in ("GET", "DELETE"):
        assert stranger(method, f"/api/reports/{report_id}")[0] == 404
    assert stranger("PUT", f"/api/reports/{report_id}", report_body())[0] == 404
    assert stranger("GET", f"/api/reports/{report_id}/runs")[0] == 404


def test_the_dashboards_of_one_org_are_not_shown_to_another(caller):
    stranger = caller(role="Admin", org_id=2)
    status, answer = stranger("POST", "/api/reports", report_body())
    assert status == 403
    assert "organisation 2" in answer["message"]


def queued_run(pool: db.Pool, report_id: int) -> int:
    with db.transaction(pool) as conn:
        report = reports.get(conn, 1, report_id)
        made = admission.insert(
            conn,
            runs.NewRun(
                org_id=1,
                report_id=report_id,
                report_revision=1,
                kind=runs.SCHEDULE,
                scheduled_for=NOW,
                spec=report.spec(),
            ),
        )
    return made[0]
