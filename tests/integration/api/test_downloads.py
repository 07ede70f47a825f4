"""Links from mails: for whoever has one, as long as it holds, and for that document only."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared import captures, db, documents, links, runs
from tests.hostile import STORABLE
from tests.integration.api.fakes import NOW, report_body

TOMORROW = NOW + dt.timedelta(days=1)


@pytest.fixture
def document_id(admin, pool) -> int:
    assert admin("POST", "/api/reports", report_body())[1]["id"] == 1
    assert admin("POST", "/api/reports/email", {"id": 1, "emails": "a@b.c"})[0] == 200
    with db.transaction(pool) as conn:
        return documents.put(conn, 1, "pdf", "Größe.pdf", b"%PDF-1.7 all of it")


def link(
    pool: db.Pool, settings, document_id: int, until: dt.datetime = TOMORROW, org_id: int = 1
) -> str:
    with db.transaction(pool) as conn:
        return links.address("", links.keys(conn, settings)[0], org_id, document_id, until)


def test_a_link_gives_the_document_without_a_token(caller, pool, settings, document_id):
    answer = caller(None).ask("GET", link(pool, settings, document_id))
    assert (answer.status_code, answer.data) == (200, b"%PDF-1.7 all of it")
    assert answer.headers["Content-Type"] == "application/pdf"
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
    assert "no-store" in answer.headers["Cache-Control"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_a_token_makes_no_difference_not_even_a_wrong_one(caller, pool, settings, document_id):
    for somebody in (caller("bst_wrong"), caller(role="Viewer", org_id=7)):
        assert somebody.ask("GET", link(pool, settings, document_id)).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path[:-1] + ("0" if path[-1] != "0" else "1"),
        lambda path: path.replace("expires=1", "expires=2"),
        lambda path: path.replace("org=1", "org=2"),
        lambda path: path.replace("org=1", "org=11"),
        lambda path: path.partition("signature=")[0] + "signature=",
        lambda path: path.partition("signature=")[0] + "signature=%C3%BC",
    ],
)
def test_a_link_that_was_changed_is_refused(caller, pool, settings, document_id, change):
    path = change(link(pool, settings, document_id))
    answer = caller(None).ask("GET", path)
    assert answer.status_code == 403
    assert "not one of ours" in answer.json["message"]


def test_a_download_by_link_is_in_the_audit_of_its_organisation(
    caller, pool, settings, document_id
):
    assert caller(None).ask("GET", link(pool, settings, document_id)).status_code == 200
    assert caller(None).ask("GET", link(pool, settings, document_id)[:-1]).status_code == 403
    with db.transaction(pool) as conn:
        rows = conn.execute(
            "SELECT org_id, who, run_id FROM audit WHERE action = 'documents:download'"
        ).fetchall()
    assert rows == [{"org_id": 1, "who": "link", "run_id": 1}]


def test_a_link_is_for_one_document(caller, pool, settings, document_id):
    with db.transaction(pool) as conn:
        other = documents.put(conn, 1, "csv", "a.csv", b"a\n")
    path = link(pool, settings, document_id)
    path = path.replace(f"/documents/{document_id}?", f"/documents/{other}?")
    assert caller(None)("GET", path)[0] == 403


def test_a_link_of_one_organisation_opens_nothing_of_another(caller, pool, settings, document_id):
    # Signed by us, as it would be if ids were mixed up somewhere.
    assert caller(None)("GET", link(pool, settings, document_id, org_id=2))[0] == 404


def test_the_same_end_may_not_be_given_twice(caller, pool, settings, document_id):
    path = link(pool, settings, document_id)
    for more in ("&expires=9999999999", "&org=2", "&signature=x"):
        assert caller(None).ask("GET", path + more).status_code in (200, 400, 403)
        first = path.replace("?", f"?{more[1:]}&")
        assert caller(None).ask("GET", first).status_code in (400, 403)


def test_a_link_ends(caller, pool, settings, document_id, clock):
    path = link(pool, settings, document_id)
    clock.time = TOMORROW - dt.timedelta(seconds=1)
    assert caller(None).ask("GET", path).status_code == 200
    clock.time = TOMORROW
    answer = caller(None).ask("GET", path)
    assert answer.status_code == 410
    assert "expired" in answer.json["message"]


def test_an_end_that_nobody_signed_is_403_and_not_410(caller, pool, settings, document_id, clock):
    path = link(pool, settings, document_id).replace("expires=", "expires=0")
    assert caller(None)("GET", path)[0] in (200, 403)
    clock.time = TOMORROW
    assert caller(None)("GET", path[:-1])[0] == 403


def test_a_document_that_is_gone_is_404(caller, pool, settings, document_id):
    path = link(pool, settings, document_id)
    with db.transaction(pool) as conn:
        conn.execute("DELETE FROM document WHERE id = %s", [document_id])
    assert caller(None)("GET", path) == (404, {"message": "This document is gone."})


def test_raw_output_of_a_capture_is_no_document(caller, pool, settings, document_id):
    with db.transaction(pool) as conn:
        (capture,) = captures.of_run(conn, 1)
        documents.put_part(conn, capture.id, "pdf", "part", b"part")
        part = conn.execute("SELECT max(id) AS id FROM document").fetchone()["id"]
        assert runs.get(conn, 1)
    assert caller(None)("GET", link(pool, settings, part))[0] == 404


def test_what_is_missing_or_no_number_is_400(caller, pool, settings, document_id):
    path = link(pool, settings, document_id)
    for wrong in (
        path.partition("?")[0],
        path.partition("&")[0],
        path.replace("org=1&", ""),
        path.replace("org=1", "org=0"),
        path.replace("org=1", "org=x"),
        path.replace("expires=1", "expires=x"),
        path.replace("expires=1", "expires=-1"),
        path.replace(f"/documents/{document_id}?", "/documents/x?"),
    ):
        assert caller(None)("GET", wrong)[0] == 400, wrong


def test_a_link_that_was_cut_off_says_so(caller, pool, settings, document_id):
    path = link(pool, settings, document_id).partition("&signature")[0]
    status, answer = caller(None)("GET", path)
    assert status == 400
    assert answer["message"].startswith("signature: is missing from this link; ")


def test_keys_of_the_settings_go_before_that_of_the_database(pool, settings):
    import dataclasses

    with db.transaction(pool) as conn:
        own = links.keys(conn, settings)
        assert links.keys(conn, settings) == own
        two = dataclasses.replace(settings, secret_key=("n" * 16, "o" * 16))
        assert links.keys(conn, two) == [b"n" * 16, b"o" * 16]
    assert len(own[0]) == 32


def test_of_several_that_make_the_key_at_once_all_have_the_same(pool, settings):
    def make(_: int) -> bytes:
        with db.transaction(pool) as conn:
            return links.keys(conn, settings)[0]

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(make, range(8)))) == 1


def test_no_name_of_a_file_adds_to_the_headers_of_an_answer(caller, pool, settings, document_id):
    path = link(pool, settings, document_id)
    for text in STORABLE:
        with db.transaction(pool) as conn:
            conn.execute("UPDATE document SET name = %s WHERE id = %s", [text, document_id])
        answer = caller(None).ask("GET", path)
        assert answer.status_code == 200, text
        assert [name for name, _ in answer.headers].count("Content-Disposition") == 1
        said = answer.headers["Content-Disposition"]
        assert said.startswith("attachment; filename")
        assert said.isascii()
        assert said.isprintable()
        assert not {"/", "\\"} & set(said)
        assert len(said) < 2_000
        assert "Bcc" not in answer.headers
