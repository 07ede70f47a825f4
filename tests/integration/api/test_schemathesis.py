"""Requests made up from our own description, against the app on a real database."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from shared import db, deliveries, documents, links, runs
from tests.integration.api.fakes import report_body

#: Requests per operation; all of them together take about half a minute.
EXAMPLES = 60
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
#: Bodies that are right, of which random parts are replaced.
RIGHT: dict[str, dict[str, Any]] = {
    "/api/reports/email": {"id": "1", "useEmailsFromReport": True},
    "/api/reports/settings": {},
    "/api/reports/schedule/preview": {"schedule": {"frequency": "daily"}},
    "/api/reports/runs/{run_id}/deliveries/{delivery_id}/resolve": {"as": "again"},
}
KEY = b"k" * 32
#: The link to document 1 that stands in a mail.
LINK = {"expires": "4102444800", "signature": links.signature(KEY, 1, 4102444800)}


@pytest.fixture
def _everything_there(admin, pool, waiter):
    """Report 1 with run 1, and workers that make a file of each kind."""

    def work(run_id: int) -> bool:
        with db.transaction(pool) as conn:
            documents.put(conn, run_id, "pdf", "a.pdf", b"%PDF-1.7")
            documents.put(conn, run_id, "csv", "a.csv", b"a\n")
            return runs.finish(conn, run_id, "sent")

    waiter.work = work
    assert admin("POST", "/api/reports", report_body())[1]["id"] == 1
    assert admin("POST", "/api/reports/email", {"id": 1, "emails": "a@b.c"})[0] == 200
    with db.transaction(pool) as conn:
        # Nobody knows whether its mail arrived.
        deliveries.insert(conn, 1, ("a@b.c",), domain="example.org", lane="interactive")
        deliveries.start(conn, 1, 1)
        deliveries.finish(conn, 1, "unknown", None, "no answer")
        conn.execute(
            "UPDATE run SET state = 'failed', cause = 'unknown', rendered_at = now(), mail = '{}'"
        )
        conn.execute("INSERT INTO secret (name, value) VALUES (%s, %s)", [links.SECRET, KEY])


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("_everything_there")
def test_no_request_meets_a_fault_or_an_answer_that_is_not_described(app, token, grafana):
    known = grafana.dashboard
    grafana.dashboard = lambda uid: known("x" if "0" not in uid else uid)
    schema = schemathesis.openapi.from_wsgi("/api/openapi.json", app)
    headers = {"Authorization": f"Bearer {token(role='Admin')}"}
    operations = [result.ok() for result in schema.get_all_operations()]
    # What changes report 1 comes after what looks at it, and what deletes it last.
    last = {"PUT": 1, "DELETE": 2}
    operations.sort(key=lambda operation: last.get(operation.method.upper(), 0))
    answers = {operation.label: _try(operation, headers) for operation in operations}
    assert len(answers) > 20
    # Run 1 is over, so what is for runs under way is told so.
    unanswered = [
        label for label, statuses in answers.items() if not (statuses[200] or statuses[409])
    ]
    assert unanswered == [], "the requests are too wild to be taken at all"


def _try(operation, headers) -> Counter[int]:
    statuses: Counter[int] = Counter()
    strategy = operation.as_strategy() | operation.as_strategy(
        generation_mode=schemathesis.GenerationMode.NEGATIVE
    )

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy, data=st.data())
    def check(case, data):
        if data.draw(st.integers(0, 2)):
            _steer(case, data)
        statuses[case.call_and_validate(headers=headers, checks=CHECKS).status_code] += 1

    check()
    return statuses


def _steer(case, data) -> None:
    """Bring a made-up request near to one that is right."""
    if case.path_parameters:
        ids = {name for name in case.path_parameters if name.endswith("_id")}
        case.path_parameters = {**case.path_parameters, **dict.fromkeys(ids, 1)}
    if case.operation.path == "/api/reports/documents/{document_id}":
        case.query = LINK
    if isinstance(case.body, dict):
        right = RIGHT.get(case.operation.path, report_body())
        wild = data.draw(st.sets(st.sampled_from(sorted(map(str, case.body)) or [""]), max_size=2))
        case.body = {**right, **{name: case.body[name] for name in wild if name in case.body}}
