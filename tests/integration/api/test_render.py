"""`/render/pdfs` and `/render/csvs`: files without a mail."""

from __future__ import annotations

import io
import json
import zipfile
from urllib.parse import quote

import pytest

from shared import db, documents, runs

BOTH = json.dumps(
    [
        {
            "dashboard": {"uid": "x"},
            "timeRange": {"from": "now-1h", "to": "now"},
            "reportVariables": {"host": ["a", "b"]},
        },
        {"dashboard": {"uid": "7MeksYbmk"}},
    ]
)


def makes(pool: db.Pool, *files: tuple[str, str, bytes]):
    """Workers that leave these files, (kind, name, content), of every run."""

    def work(run_id: int) -> bool:
        with db.transaction(pool) as conn:
            for kind, name, content in files:
                documents.put(conn, run_id, kind, name, content)
            return runs.finish(conn, run_id, "sent")

    return work


@pytest.fixture
def viewer(caller):
    return caller(role="Viewer")


def test_anybody_with_a_token_gets_a_pdf(viewer, pool, waiter):
    waiter.work = makes(pool, ("pdf", "Übersicht-2026-03-04.pdf", b"%PDF-1.7 x"))
    answer = viewer.ask(
        "GET",
        f"/api/reports/render/pdfs?dashboards={quote(BOTH)}&orientation=landscape&layout=simple"
        "&title=Weekly&scaleFactor=3&includeTables=true",
    )
    assert (answer.status_code, answer.data) == (200, b"%PDF-1.7 x")
    assert answer.headers["Content-Type"] == "application/pdf"
    assert answer.headers["Content-Disposition"] == (
        "attachment; filename=Ubersicht-2026-03-04.pdf; "
        "filename*=UTF-8''%C3%9Cbersicht-2026-03-04.pdf"
    )
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_what_is_asked_for_is_what_the_run_makes(viewer, pool, waiter):
    waiter.work = makes(pool, ("pdf", "a.pdf", b"%PDF"))
    viewer.ask(
        "GET",
        f"/api/reports/render/pdfs?dashboards={quote(BOTH)}&orientation=landscape&layout=simple"
        "&title=Weekly&scaleFactor=3&includeTables=true",
    )
    with db.transaction(pool) as conn:
        run = runs.get(conn, 1)
    assert (run.kind, run.report_id) == ("export", None)
    spec = run.spec
    assert (spec.name, spec.orientation, spec.layout) == ("Weekly", "landscape", "simple")
    assert (spec.scale_factor, spec.formats, spec.recipients) == (3, ("pdf",), ())
    assert (spec.combine, spec.table_appendix) == (True, True)
    assert [item.uid for item in spec.dashboards] == ["x", "7MeksYbmk"]
    assert (spec.dashboards[0].time_from, spec.dashboards[0].time_to) == ("now-1h", "now")
    assert spec.dashboards[0].variables == {"host": ("a", "b")}


@pytest.mark.parametrize("text", ["x,7MeksYbmk", '{"dashboard":{"uid":"x"}}'])
def test_dashboards_may_be_written_more_simply(viewer, pool, waiter, text):
    waiter.work = makes(pool, ("pdf", "a.pdf", b"%PDF"))
    assert viewer("GET", f"/api/reports/render/pdfs?dashboards={quote(text)}")[0] == 200
    with db.transaction(pool) as conn:
        assert runs.get(conn, 1).spec.name == "X"


WRONG_QUERIES = [
    ("", "dashboards"),
    ("dashboards=", "dashboards"),
    ("dashboards=[]", "dashboards"),
    ("dashboards=[", "dashboards"),
    ("dashboards=[1]", "dashboards[0]"),
    ("dashboards=[{}]", "dashboards[0].dashboard.uid"),
    ('dashboards=[{"dashboard":{"uid":1}}]', "dashboards[0].dashboard.uid"),
    (
        'dashboards=[{"dashboard":{"uid":"x"},"timeRange":{"from":"x","to":"y"}}]',
        "dashboards[0].timeRange",
    ),
    (
        'dashboards=[{"dashboard":{"uid":"x"},"timeRange":{"from":"now","to":"now-1h"}}]',
        "dashboards[0].timeRange",
    ),
    ("dashboards=x&orientation=upright", "orientation"),
    ("dashboards=x&layout=list", "layout"),
    ("dashboards=x&scaleFactor=big", "scaleFactor"),
    (f"dashboards={','.join(['x'] * 51)}", "dashboards"),
]


def test_a_wrong_query_is_400(viewer, bell):
    for query, field in WRONG_QUERIES:
        status, answer = viewer("GET", f"/api/reports/render/pdfs?{query}")
        assert status == 400
        assert answer["message"].startswith(f"{field}: "), answer
        assert bell.rings == []


def test_a_dashboard_that_is_not_there_is_404(viewer):
    assert viewer("GET", "/api/reports/render/pdfs?dashboards=gone")[0] == 404


def test_tables_come_as_an_archive_with_a_name_each(viewer, pool, waiter):
    waiter.work = makes(
        pool,
        ("csv", "Hosts.csv", b"a,b\n"),
        ("csv", "Hosts-2.csv", b"c,d\n"),
        ("csv", "Größen.csv", b"e\n"),
    )
    answer = viewer.ask("GET", "/api/reports/render/csvs?dashboards=x&title=Zahlen")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/zip"
    assert "filename=Zahlen-2026-03-04.zip" in answer.headers["Content-Disposition"]
    archive = zipfile.ZipFile(io.BytesIO(answer.data))
    assert {name: archive.read(name) for name in archive.namelist()} == {
        "Hosts.csv": b"a,b\n",
        "Hosts-2.csv": b"c,d\n",
        "Größen.csv": b"e\n",
    }
    # Dated by the run, not by the moment: a repeated request gets the same bytes.
    assert {entry.date_time for entry in archive.infolist()} == {(2026, 3, 4, 10, 30, 0)}


def test_without_a_table_there_is_no_content(viewer):
    answer = viewer.ask("GET", "/api/reports/render/csvs?dashboards=x")
    assert (answer.status_code, answer.data) == (204, b"")


def test_a_run_that_failed_is_500_with_its_cause(viewer, pool, waiter):
    def fail(run_id: int) -> bool:
        with db.transaction(pool) as conn:
            return runs.finish(conn, run_id, "failed", "The page did not load")

    waiter.work = fail
    for path in ("pdfs", "csvs"):
        status, answer = viewer("GET", f"/api/reports/render/{path}?dashboards=x")
        assert status == 500
        assert "The page did not load" in answer["message"]


def test_at_the_deadline_the_answer_names_the_run(viewer, waiter):
    waiter.work = lambda _: False
    answer = viewer.ask("GET", "/api/reports/render/pdfs?dashboards=x")
    assert answer.status_code == 504
    assert answer.headers["Location"] == "/api/reports/runs/1"
