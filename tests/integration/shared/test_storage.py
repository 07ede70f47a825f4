"""Documents in an S3-compatible store: a real one, on loopback."""

from __future__ import annotations

import dataclasses
import datetime as dt
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import pytest

from beat import keeping
from deploy.local.services import free_port
from shared import captures, db, documents, retention, runs
from shared.documents import Document, UploadTooLong
from shared.errors import SettingsError
from shared.s3 import Bucket
from shared.settings import Settings
from shared.storage import DocumentDeleted, DocumentLost, Storage
from shared.store import StoreAway, StoreFault, StoreRefused
from tests.integration.shared.ledgers import ledger_of
from tests.seaweed import READER, Seaweed

FILE = b"%PDF-1.7 " + bytes(range(256)) * 40


@pytest.fixture
def in_s3(settings: Settings, environ: dict[str, str], seaweed: Seaweed, request) -> Settings:
    """Settings with a corner of the store that no other test uses."""
    corner = f"{request.node.name.partition('[')[0]}/"
    return Settings.from_environment(environ | seaweed.environ() | {"BROADSHEET_S3_PREFIX": corner})


@pytest.fixture
def storage(in_s3: Settings) -> Storage:
    return Storage.from_settings(in_s3)


@pytest.fixture
def objects(in_s3: Settings) -> Callable[[], list[str]]:
    """The keys that are in the store."""
    return lambda: sorted(Bucket(in_s3).keys())


def run_with(pool: db.Pool, storage: Storage, *contents: bytes) -> tuple[int, list[Document]]:
    """A run that was sent, with these files."""
    [first, *_] = ledger_of(pool, "sent")
    kept = storage.keep(pool, contents)
    with db.transaction(pool) as conn:
        for number, one in enumerate(kept):
            documents.put(conn, first.run_id, "pdf", f"{number}.pdf", one)
        return first.run_id, documents.of_run(conn, first.run_id)


def read(pool: db.Pool, storage: Storage, found: list[Document]) -> list[bytes]:
    return storage.contents(partial(db.transaction, pool), found)


def loose(pool: db.Pool) -> int:
    with db.transaction(pool) as conn:
        row = conn.execute("SELECT count(*) AS n FROM loose_object").fetchone()
    assert row
    return row["n"]


def make_due(pool: db.Pool) -> None:
    with db.transaction(pool) as conn:
        conn.execute("UPDATE loose_object SET due_at = now() - interval '1 second'")


def test_what_is_stored_is_what_is_read_and_is_not_in_the_database(pool, storage, objects):
    _, found = run_with(pool, storage, FILE, b"")
    assert read(pool, storage, found) == [FILE, b""]
    assert len(objects()) == 2
    with db.transaction(pool) as conn:
        rows = conn.execute("SELECT content, key, size FROM document ORDER BY id").fetchall()
    assert [(row["content"], row["size"]) for row in rows] == [(None, len(FILE)), (None, 0)]
    assert sorted(row["key"] for row in rows) == objects()
    assert loose(pool) == 0


def test_of_a_worker_that_dies_after_the_upload_nothing_is_left(pool, storage, objects):
    storage.keep(pool, [FILE, FILE])
    assert (len(objects()), loose(pool)) == (2, 2)
    assert storage.clear(pool) == 0  # it may still be under way
    assert len(objects()) == 2
    make_due(pool)
    assert storage.clear(pool) == 2
    assert (objects(), loose(pool)) == ([], 0)


def test_of_one_that_dies_before_the_upload_nothing_is_left(pool, storage, objects):
    with db.transaction(pool) as conn:
        documents.announce_objects(conn, ["ab/never"], dt.timedelta(0))
    assert storage.clear(pool) == 1
    assert (objects(), loose(pool)) == ([], 0)


def test_a_transaction_that_is_rolled_back_leaves_the_object_to_the_sweep(pool, storage, objects):
    [first, *_] = ledger_of(pool, "sent")
    [kept] = storage.keep(pool, [FILE])
    with pytest.raises(ZeroDivisionError), db.transaction(pool) as conn:
        documents.put(conn, first.run_id, "pdf", "a.pdf", kept)
        raise ZeroDivisionError
    assert loose(pool) == 1
    make_due(pool)
    storage.clear(pool)
    assert objects() == []


def test_what_is_being_swept_can_no_longer_be_had_by_a_document(pool, storage):
    [first, *_] = ledger_of(pool, "sent")
    [kept] = storage.keep(pool, [FILE])
    make_due(pool)
    with db.transaction(pool) as conn:
        assert documents.condemn_objects(conn, limit=1, again=dt.timedelta(hours=1)) == [kept.key]
    with pytest.raises(UploadTooLong), db.transaction(pool) as conn:
        documents.put(conn, first.run_id, "pdf", "a.pdf", kept)
    with db.transaction(pool) as conn:
        assert documents.of_run(conn, first.run_id) == []


def test_two_beats_sweep_what_the_other_does_not(pool, storage):
    storage.keep(pool, [b"1", b"2", b"3"])
    make_due(pool)
    hour = dt.timedelta(hours=1)
    with db.transaction(pool) as one, db.transaction(pool) as other:
        first = documents.condemn_objects(one, limit=2, again=hour)
        second = documents.condemn_objects(other, limit=9, again=hour)
    assert (len(first), len(second), set(first) & set(second)) == (2, 1, set())


@pytest.mark.parametrize(
    "how",
    [
        lambda conn, run_id: conn.execute("DELETE FROM run WHERE id = %s", [run_id]),
        lambda conn, _: conn.execute("DELETE FROM document"),
        lambda conn, _: retention.forget_runs(conn, dt.timedelta(0)),
        lambda conn, _: retention.drop_old_documents(conn, dt.timedelta(0)),
        lambda conn, _: retention.drop_surplus(conn, 1),
    ],
    ids=["run", "document", "forget_runs", "drop_old_documents", "drop_surplus"],
)
def test_the_row_goes_first_then_the_object_whoever_deletes_it(pool, storage, objects, how):
    run_id, _ = run_with(pool, storage, FILE)
    [key] = objects()
    with db.transaction(pool) as conn:
        how(conn, run_id)
    with db.transaction(pool) as conn:
        assert documents.of_run(conn, run_id) == []
        assert conn.execute("SELECT key FROM loose_object").fetchall() == [{"key": key}]
    assert objects() == [key]
    assert storage.clear(pool) == 1
    assert (objects(), loose(pool)) == ([], 0)


def test_whoever_cancels_in_his_organisation_leaves_objects_to_the_sweep(pool, storage):
    """The role of an organisation may not write the table; the trigger does."""
    run_with(pool, storage, FILE)
    with db.org_transaction(pool, 1) as conn:
        assert conn.execute("DELETE FROM document").rowcount == 1
    assert loose(pool) == 1


def test_an_object_that_is_missing_is_an_error_and_not_an_empty_file(pool, storage, objects, in_s3):
    _, found = run_with(pool, storage, FILE)
    Bucket(in_s3).delete(objects()[0])
    with pytest.raises(
        DocumentLost, match=r"0\.pdf .* is not in the store .* BROADSHEET_S3_BUCKET"
    ):
        read(pool, storage, found)


@pytest.mark.parametrize("wrong", [b"", FILE[:-1], FILE + b"x", b"x" + FILE[1:]])
def test_an_object_that_is_not_what_was_stored_is_an_error(pool, storage, objects, in_s3, wrong):
    _, found = run_with(pool, storage, FILE)
    Bucket(in_s3).write(next(key for key in objects() if loose_key(pool, key)), wrong)
    with pytest.raises(DocumentLost, match=r"0\.pdf .* is damaged"):
        read(pool, storage, found)


def loose_key(pool: db.Pool, key: str) -> bool:
    """Whether a document has it."""
    with db.transaction(pool) as conn:
        row = conn.execute("SELECT FROM document WHERE key = %s", [key]).fetchone()
    return row is not None


def test_a_document_deleted_meanwhile_says_so(pool, storage):
    _, found = run_with(pool, storage, FILE)
    with db.transaction(pool) as conn:
        conn.execute("DELETE FROM document")
    with pytest.raises(DocumentDeleted, match="was deleted"):
        read(pool, storage, found)


def test_documents_of_both_stores_are_read_whatever_the_setting_says(pool, storage, in_s3):
    _, here = run_with(pool, Storage(), b"in Postgres")
    with db.transaction(pool) as conn:
        conn.execute("UPDATE run SET scheduled_for = scheduled_for - interval '1 day'")
    _, there = run_with(pool, storage, b"in S3")
    back = Storage.from_settings(dataclasses.replace(in_s3, store="postgres"))
    for either in (storage, back):
        assert read(pool, either, [*here, *there]) == [b"in Postgres", b"in S3"]
    assert back.keep(pool, [b"x"])[0].content == b"x"


def test_without_the_bucket_what_lies_in_it_says_which_variable_is_missing(pool, storage):
    _, found = run_with(pool, storage, FILE)
    with pytest.raises(SettingsError, match="BROADSHEET_S3_BUCKET"):
        read(pool, Storage(), found)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"s3_secret_key": "wrong"}, "BROADSHEET_S3_SECRET_KEY"),
        ({"s3_access_key": "nobody"}, "BROADSHEET_S3_ACCESS_KEY"),
        ({"s3_bucket": "elsewhere"}, "BROADSHEET_S3_BUCKET"),
        ({"s3_access_key": READER[0], "s3_secret_key": READER[1]}, "s3:PutObject"),
    ],
)
def test_what_is_refused_names_the_variable_and_not_its_value(pool, in_s3, change, named):
    storage = Storage.from_settings(dataclasses.replace(in_s3, **change))
    with pytest.raises(StoreRefused, match=named) as refused:
        storage.keep(pool, [FILE])
    assert "wrong" not in refused.value.message
    assert "secret" not in refused.value.message.lower().replace("s3_secret_key", "")
    with pytest.raises(StoreRefused, match=named):
        storage.probe()


def test_without_credentials_it_says_which_to_set(pool, in_s3, monkeypatch):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    nobody = dataclasses.replace(in_s3, s3_access_key="", s3_secret_key="")
    with pytest.raises(StoreRefused, match="BROADSHEET_S3_ACCESS_KEY"):
        Storage.from_settings(nobody).keep(pool, [FILE])


def test_a_store_that_is_away_is_an_outage(pool, in_s3):
    away = dataclasses.replace(in_s3, s3_endpoint=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(StoreAway, match="BROADSHEET_S3_ENDPOINT"):
        Storage.from_settings(away).keep(pool, [FILE])
    # The key was noted, should anything have arrived.
    assert loose(pool) == 1


def test_a_store_that_takes_connections_and_says_nothing_is_given_up(pool, in_s3):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        mute = dataclasses.replace(in_s3, s3_endpoint=url, s3_timeout=0.2)
        with pytest.raises(StoreAway):
            Storage.from_settings(mute).keep(pool, [FILE])


@contextmanager
def server(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that takes one connection and does as it is told with it, until that is closed."""

    def serve() -> None:
        with suppress(OSError), listening.accept()[0] as peer:
            talk(peer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.close()
            thread.join(20)
            assert not thread.is_alive()


def test_a_store_that_sends_a_byte_now_and_then_is_given_up(in_s3):
    """Each is well within what a single wait may take."""

    def trickle(peer: socket.socket) -> None:
        peer.recv(65_536)
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            peer.sendall(b"x")
            # Nothing comes but the end.
            if select.select([peer], [], [], 0.05)[0]:
                return

    with server(trickle) as url:
        slow = dataclasses.replace(in_s3, s3_endpoint=url, s3_timeout=0.2)
        with pytest.raises(StoreAway, match="BROADSHEET_S3_TIMEOUT"):
            Bucket(slow).read("any", 1_000_000)


def test_a_store_that_says_nothing_in_the_middle_is_an_outage(in_s3):
    def stall(peer: socket.socket) -> None:
        peer.recv(65_536)
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx")
        peer.recv(1)

    with server(stall) as url:
        mute = dataclasses.replace(in_s3, s3_endpoint=url, s3_timeout=0.2)
        with pytest.raises(StoreAway):
            Bucket(mute).read("any", 1_000_000)


class Locked:
    """A store in which one object cannot be deleted."""

    def __init__(self, store: Bucket, key: str, fault: StoreAway) -> None:
        self._store = store
        self._key = key
        self._fault = fault
        self.asked: list[str] = []

    def write(self, key: str, content: bytes) -> None:
        self._store.write(key, content)

    def read(self, key: str, most: int) -> bytes | None:
        return self._store.read(key, most)

    def delete(self, key: str) -> None:
        self.asked.append(key)
        if key == self._key:
            raise self._fault
        self._store.delete(key)

    def keys(self) -> Iterator[str]:
        return self._store.keys()


def test_an_object_that_cannot_be_deleted_keeps_no_other_from_it(pool, storage, in_s3, objects):
    first, *_ = storage.keep(pool, [b"1", b"2", b"3"])
    make_due(pool)
    locked = Locked(Bucket(in_s3), first.key, StoreFault("It is locked."))
    with pytest.raises(StoreFault, match="locked"):
        Storage(locked).clear(pool)
    assert (objects(), loose(pool)) == ([first.key], 1)


def test_a_store_that_does_not_answer_is_not_asked_for_the_next_object(pool, storage, in_s3):
    storage.keep(pool, [b"1", b"2", b"3"])
    make_due(pool)
    with db.transaction(pool) as conn:
        row = conn.execute("SELECT key FROM loose_object ORDER BY due_at LIMIT 1").fetchone()

    class Away(Locked):
        def delete(self, key: str) -> None:
            self.asked.append(key)
            raise StoreAway

    away = Away(Bucket(in_s3), row["key"], StoreAway())
    with pytest.raises(StoreAway):
        Storage(away).clear(pool)
    assert len(away.asked) == 1
    assert loose(pool) == 3


def test_a_probe_leaves_nothing(storage, objects):
    storage.probe()
    assert objects() == []


def test_documents_move_to_the_store_and_back(pool, storage, objects, in_s3):
    _, found = run_with(pool, Storage(), FILE, b"two")
    for document in found:
        assert storage.move(pool, document.id, "s3")
        assert not storage.move(pool, document.id, "s3")
    assert read(pool, storage, found) == [FILE, b"two"]
    assert (len(objects()), loose(pool)) == (2, 0)
    with db.transaction(pool) as conn:
        assert documents.elsewhere(conn, "s3", after=0, limit=9) == []
        assert len(documents.elsewhere(conn, "postgres", after=0, limit=9)) == 2
    assert storage.move(pool, found[0].id, "postgres")
    assert read(pool, storage, found) == [FILE, b"two"]
    # Somebody may just have read where it lay.
    assert storage.clear(pool) == 0
    make_due(pool)
    assert storage.clear(pool) == 1
    assert read(pool, storage, found) == [FILE, b"two"]


def test_a_file_that_is_lost_is_not_moved_and_one_deleted_meanwhile_is_no_fault(
    pool, storage, objects, in_s3
):
    class Robbed(Storage):
        def _content(self, document, kept):
            with db.transaction(pool) as conn:
                conn.execute("DELETE FROM document")
            return super()._content(document, kept)

    _, [document] = run_with(pool, storage, FILE)
    Bucket(in_s3).delete(objects()[0])
    with pytest.raises(DocumentLost, match=r"0\.pdf"):
        storage.move(pool, document.id, "postgres")
    assert not Robbed(storage._store, writes_to="postgres").move(pool, document.id, "postgres")


def test_a_document_deleted_while_it_is_moved_stays_deleted(pool, storage, objects):
    class Slow(Storage):
        def _upload(self, pool, contents):
            kept = super()._upload(pool, contents)
            with db.transaction(pool) as conn:
                conn.execute("DELETE FROM document")
            return kept

    _, [document] = run_with(pool, Storage(), FILE)
    assert not Slow(storage._store, writes_to="s3").move(pool, document.id, "s3")
    make_due(pool)
    storage.clear(pool)
    assert objects() == []


def test_what_the_database_knows_nothing_of_is_found(pool, storage, objects, in_s3):
    run_with(pool, storage, FILE)
    storage.keep(pool, [b"under way"])
    Bucket(in_s3).write("zz/since-the-backup", b"x")
    assert list(storage.unknown(pool)) == ["zz/since-the-backup"]


def test_beat_deletes_objects_and_counts_what_there_is(pool, storage, in_s3, objects):
    run_with(pool, storage, FILE)
    with db.transaction(pool) as conn:
        documents.put(conn, 1, "csv", "a.csv", b"12345")
    memory = keeping.Memory()
    keeping.step(pool, in_s3, storage, memory)
    with db.transaction(pool) as conn:
        assert [(one.store, one.number, one.bytes) for one in retention.stored(conn)] == [
            ("postgres", 1, 5),
            ("s3", 1, len(FILE)),
        ]
        conn.execute("DELETE FROM document WHERE key IS NOT NULL")
    keeping.step(pool, in_s3, storage, memory)
    assert objects() == []


def test_a_store_that_is_away_keeps_beat_from_nothing_else(pool, storage, in_s3, objects):
    run_with(pool, storage, FILE)
    with db.transaction(pool) as conn:
        conn.execute("UPDATE run SET finished_at = now() - interval '400 days'")
    away = dataclasses.replace(in_s3, s3_endpoint=f"http://127.0.0.1:{free_port()}")
    memory = keeping.Memory()
    keeping.step(pool, away, Storage.from_settings(away), memory)
    assert memory.store_away
    with db.transaction(pool) as conn:
        assert runs.get(conn, 1) is None
        # Put off, and to be deleted all the same.
        assert retention.loose(conn) == 1
    assert (len(objects()), loose(pool)) == (1, 1)
    make_due(pool)
    keeping.step(pool, in_s3, storage, memory)
    assert (objects(), loose(pool), memory.store_away) == ([], 0, False)


def test_raw_output_of_captures_goes_there_as_well(pool, storage, objects):
    run_with(pool, storage)
    [kept] = storage.keep(pool, [FILE])
    with db.transaction(pool) as conn:
        [capture] = captures.of_run(conn, 1)
        documents.put_part(conn, capture.id, "pdf", "part", kept)
    with db.transaction(pool) as conn:
        parts = documents.parts(conn, capture.id)
    assert read(pool, storage, parts) == [FILE]
    with db.transaction(pool) as conn:
        assert documents.drop_stray_parts(conn) == 1
    storage.clear(pool)
    assert objects() == []
