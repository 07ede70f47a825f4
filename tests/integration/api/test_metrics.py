"""What Prometheus is told."""

from __future__ import annotations

import datetime as dt

from prometheus_client.parser import text_string_to_metric_families

from shared import admission, db, deliveries, mail_server, presence, runs
from shared.presence import Process
from shared.spec import DashboardSpec, RunSpec
from tests.integration.api.fakes import report_body


def read(caller) -> dict[tuple[str, ...], float]:
    answer = caller(None).ask("GET", "/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain")
    return {
        (sample.name.removeprefix("broadsheet_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_a_service_at_rest_has_nothing_waiting(caller):
    found = read(caller)
    assert found["reports_due",] == found["reports_oldest_due_seconds",] == 0
    assert found["runs_waiting",] == found["deliveries_unknown",] == 0
    assert found["runs_not_sent_last_day", "missed"] == 0


def test_a_slot_that_no_beat_claims_and_a_run_that_waits_are_seen(caller, admin, pool):
    admin("POST", "/api/reports", report_body())
    with db.transaction(pool) as conn:
        conn.execute("UPDATE report SET next_run_at = now() - interval '90 seconds'")
        new = runs.NewSlot(org_id=1, report_id=1, report_revision=1,
                           scheduled_for=db.clock(conn) - dt.timedelta(seconds=40))  # fmt: skip
        runs.insert_slots(conn, [new], lifetime=60)
        gone = runs.NewSlot(org_id=1, report_id=1, report_revision=1, state="missed", cause="c",
                            scheduled_for=db.clock(conn) - dt.timedelta(seconds=90))  # fmt: skip
        runs.insert_slots(conn, [gone], lifetime=60)
        test = runs.NewRun(
            org_id=1, report_id=None, report_revision=None, kind=runs.TEST,
            scheduled_for=db.clock(conn),
            spec=RunSpec(name="r", dashboards=(DashboardSpec(uid="a"),)),
        )  # fmt: skip
        admission.insert(conn, test)
    found = read(caller)
    assert found["reports_due",] == 1
    assert 90 <= found["reports_oldest_due_seconds",] < 120
    assert found["runs_waiting",] == 1
    assert 40 <= found["runs_oldest_waiting_seconds",] < 70
    assert found["tasks", "render", "interactive", "render", "waiting"] == 1
    assert found["runs_not_sent_last_day", "missed"] == 1


def test_a_mail_that_does_not_go_out_grows_old(caller, admin, pool, waiter):
    admin("POST", "/api/reports", report_body())
    waiter.work = lambda _: False
    run_id = admin("POST", "/api/reports/email", {"id": 1, "emails": "a@b.c"})[1]["runId"]
    with db.transaction(pool) as conn:
        deliveries.insert(conn, run_id, ("a@b.c", "d@e.f"), domain="x.org", lane="interactive")
        sent, open_ = deliveries.of_run(conn, run_id)
        deliveries.finish(conn, sent.id, "sent", 250, None)
        conn.execute(
            "UPDATE delivery SET since = now() - interval '50 s' WHERE id = %s", [open_.id]
        )
    found = read(caller)
    assert found["deliveries_open",] == 1
    assert 50 <= found["deliveries_oldest_open_seconds",] < 80


def test_a_mail_server_is_down_from_its_first_failure_on(caller, pool):
    with db.transaction(pool) as conn:
        mail_server.change(conn, "relay:25", lambda server, _: server)
    assert read(caller)["mail_server_up", "relay:25"] == 1
    with db.transaction(pool) as conn:
        mail_server.change(
            conn,
            "relay:25",
            lambda server, now: server.failed(now, "away", configuration=False),
        )
    assert read(caller)["mail_server_up", "relay:25"] == 0


def test_what_ended_is_counted_and_who_is_there_is_told(caller, admin, pool):
    admin("POST", "/api/reports", report_body())
    admin("POST", "/api/reports/email", {"id": 1, "emails": "a@b.c"})
    with db.transaction(pool) as conn:
        presence.renew(
            conn, Process(name="a:1", role="beat", version="1", detail={"ticked_at": 1234.5})
        )
        for name in ("b:1", "b:2"):
            presence.renew(conn, Process(name=name, role="worker", queues=["render"], version="1"))
        presence.renew(conn, Process(name="c:1", role="worker", queues=["deliver"], version="1"))
        conn.execute("UPDATE process SET seen_at = now() - interval '1 min' WHERE name = 'c:1'")
    found = read(caller)
    assert found["runs_total", "api", "sent"] == 1
    assert found["deliveries_total", "unknown"] == 0
    # The test's worker ends it without having begun; of what it took nothing is known.
    assert found["run_duration_seconds_count", "interactive"] == 0
    assert (found["processes", "beat"], found["processes", "worker"]) == (1, 2)
    assert (found["slots", "render"], found["slots", "deliver"]) == (2, 0)
    assert found["beat_last_tick_timestamp_seconds",] == 1234.5
    # Rates need a zero.
    assert found["tasks", "deliver", "scheduled", "deliver", "waiting"] == 0
    assert found["captures_total", "failed"] == found["leases_lost_total", "render"] == 0


def test_lag_and_duration_are_told_by_lane_in_buckets_that_add_up(caller, pool):
    with db.transaction(pool) as conn:
        conn.execute(
            "INSERT INTO notch (name, kind, seconds) VALUES ('run_lag', 'schedule', 4), "
            "('run_lag', 'notice', 7), ('run_lag', 'schedule', 9999), ('run_lag', 'api', 0.1)"
        )
    found = read(caller)
    assert found["run_lag_seconds_bucket", "scheduled", "2.0"] == 0
    assert found["run_lag_seconds_bucket", "scheduled", "5.0"] == 1
    assert found["run_lag_seconds_bucket", "scheduled", "3600.0"] == 2
    assert found["run_lag_seconds_bucket", "scheduled", "+Inf"] == 3
    assert found["run_lag_seconds_count", "scheduled"] == 3
    assert found["run_lag_seconds_sum", "scheduled"] == 10_010
    assert found["run_lag_seconds_count", "interactive"] == 1
