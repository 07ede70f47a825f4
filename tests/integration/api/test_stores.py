"""Downloads of documents that lie in an S3-compatible store."""

from __future__ import annotations

import dataclasses
import datetime as dt
import io
import zipfile

import pytest

from api.app import create_app
from deploy.local.services import free_port
from shared import db, documents, links
from shared.s3 import Bucket
from shared.settings import Settings
from shared.storage import Storage
from tests.integration.api.fakes import NOW, Caller, report_body

FILE = b"%PDF-1.7 " + b"all of it " * 10_000


@pytest.fixture
def settings(environ, seaweed, request) -> Settings:
    corner = {"BROADSHEET_S3_PREFIX": f"api-{request.node.name.partition('[')[0]}/"}
    return Settings.from_environment(environ | seaweed.environ() | corner)


@pytest.fixture
def document_id(admin, pool, settings) -> int:
    assert admin("POST", "/api/reports", report_body())[1]["id"] == 1
    assert admin("POST", "/api/reports/email", {"id": 1, "emails": "a@b.c"})[0] == 200
    [kept] = Storage.from_settings(settings).keep(pool, [FILE])
    with db.transaction(pool) as conn:
        return documents.put(conn, 1, "pdf", "a.pdf", kept)


@pytest.fixture
def addresses(pool, settings, document_id) -> list[str]:
    """Of the document in the history, and of the link in a mail."""
    with db.transaction(pool) as conn:
        key = links.keys(conn, settings)[0]
    link = links.address("", key, 1, document_id, NOW + dt.timedelta(days=1))
    return [f"/api/reports/runs/1/documents/{document_id}", link]


def noted(pool: db.Pool) -> int:
    with db.transaction(pool) as conn:
        row = conn.execute(
            "SELECT count(*) AS n FROM audit WHERE action = 'documents:download'"
        ).fetchone()
    assert row
    return row["n"]


def test_a_download_is_what_was_stored_and_is_noted(admin, pool, addresses):
    for address in addresses:
        answer = admin.ask("GET", address)
        assert (answer.status_code, answer.data) == (200, FILE)
        assert answer.headers["Content-Type"] == "application/pdf"
        assert int(answer.headers["Content-Length"]) == len(FILE)
    assert noted(pool) == 2


def test_a_store_that_is_away_is_503_with_a_sentence_that_tells_no_address(
    settings, pool, bell, grafana, waiter, clock, token, addresses
):
    away = dataclasses.replace(settings, s3_endpoint=f"http://127.0.0.1:{free_port()}")
    app = create_app(away, pool=pool, bell=bell, grafana=grafana, waiter=waiter, clock=clock)
    admin = Caller(app.test_client(), token(role="Admin"))
    for address in addresses:
        answer = admin.ask("GET", address)
        assert answer.status_code == 503
        assert answer.json["message"].startswith("The store of documents does not answer")
        assert "127.0.0.1" not in answer.json["message"]
        assert answer.headers["Retry-After"]
    assert admin("GET", "/api/reports/runs/1")[0] == 200
    assert noted(pool) == 0


def test_a_damaged_or_missing_file_is_an_error_and_not_half_a_file(
    admin, pool, settings, document_id, addresses
):
    with db.transaction(pool) as conn:
        key = documents.kept(conn, [document_id])[document_id].key
    bucket = Bucket(settings)
    bucket.write(key, FILE[:100])
    assert {admin("GET", address)[0] for address in addresses} == {500}
    bucket.delete(key)
    for address in addresses:
        status, answer = admin("GET", address)
        assert (status, "missing or damaged" in answer["message"]) == (500, True)
    assert noted(pool) == 0


@pytest.mark.parametrize("which", [0, 1], ids=["history", "link"])
def test_a_file_deleted_while_it_is_asked_for_is_404(admin, pool, addresses, monkeypatch, which):
    real = Storage.contents

    def robbed(self, begin, found):
        with db.transaction(pool) as conn:
            conn.execute("DELETE FROM document WHERE id = ANY(%s)", [[one.id for one in found]])
        return real(self, begin, found)

    monkeypatch.setattr(Storage, "contents", robbed)
    status, answer = admin("GET", addresses[which])
    assert (status, "was deleted" in answer["message"], noted(pool)) == (404, True, 0)


def test_an_export_is_packed_from_the_store(admin, pool, settings, waiter):
    def work(run_id: int) -> bool:
        [kept] = Storage.from_settings(settings).keep(pool, [b"a,b\n"])
        from shared import runs

        with db.transaction(pool) as conn:
            documents.put(conn, run_id, "csv", "a.csv", kept)
            return runs.finish(conn, run_id, "sent")

    waiter.work = work
    answer = admin.ask("GET", "/api/reports/render/csvs?dashboards=x")
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        assert archive.read("a.csv") == b"a,b\n"
