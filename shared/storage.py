"""Storage: puts the bytes of documents where they are to lie, and gets them from where they do.

Postgres is the default: the bytes go with the row. A store of objects is asked with no transaction
open, so a key is noted before its object is there (`documents.announce_objects`) and taken over
in the transaction that stores the document: whatever dies in between leaves a note, by which the
object is deleted a day later. No object is written twice, or changed.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

from shared import db, documents, log
from shared.db import Connection, Pool
from shared.documents import POSTGRES, Document, Kept
from shared.errors import Permanent, SettingsError, Transient
from shared.s3 import Bucket
from shared.settings import Settings
from shared.store import Store, StoreAway, StoreFault

logger = log.get(__name__)

#: An upload whose document is not stored by then never will be.
UPLOADS_KEPT = dt.timedelta(days=1)
#: Who has just read where a document lies can still read it there after it was moved.
MOVED_KEPT = dt.timedelta(minutes=10)
#: Objects deleted at once, and when those that could not be are tried again.
BATCH, AGAIN = 100, dt.timedelta(minutes=10)
#: What the doctor writes, reads and deletes.
PROBE = b"A probe of Broadsheet's doctor."

Begin = Callable[[], AbstractContextManager[Connection]]


class DocumentLost(Transient):
    """The bytes of a document are gone from where they lay, or are not what was stored."""


class DocumentDeleted(Permanent):
    """A document was deleted since it was looked up, as retention does."""


class Storage:
    """The stores that documents lie in. `writes_to` is where new ones go; all are read.

    One per process, made after a fork; its threads share it.
    """

    def __init__(self, store: Store | None = None, *, writes_to: str = POSTGRES) -> None:
        self._store = store
        self._writes_to = writes_to

    @classmethod
    def from_settings(cls, settings: Settings) -> Storage:
        """Return the storage that the settings describe; asks nothing of it yet."""
        if not settings.uses_s3:
            return cls()
        return cls(Bucket(settings), writes_to=settings.store)

    def keep(self, pool: Pool, contents: Sequence[bytes]) -> list[Kept]:
        """Put the bytes of documents away, to be called with no transaction open.

        They are nobody's until the transaction that stores their documents. Raises `StoreAway`,
        `DatabaseAway`.
        """
        if self._writes_to == POSTGRES or not contents:
            return [Kept.of(content) for content in contents]
        return self._upload(pool, contents)

    def _upload(self, pool: Pool, contents: Sequence[bytes]) -> list[Kept]:
        store = self._wanted()
        keys = [_new_key() for _ in contents]
        with db.transaction(pool) as conn:
            documents.announce_objects(conn, keys, UPLOADS_KEPT)
        for key, content in zip(keys, contents, strict=True):
            store.write(key, content)
        return [Kept.of(content, key) for key, content in zip(keys, contents, strict=True)]

    def contents(self, begin: Begin, found: Sequence[Document]) -> list[bytes]:
        """Return the bytes of documents, which are what was stored or an error.

        `begin` opens a transaction, which is over before the store is asked. Raises `StoreAway`,
        `DocumentLost`, `DocumentDeleted`, `DatabaseAway`.
        """
        if not found:
            return []
        with begin() as conn:
            kept = documents.kept(conn, [document.id for document in found])
        return [self._content(document, kept.get(document.id)) for document in found]

    def _content(self, document: Document, kept: Kept | None) -> bytes:
        if kept is None:
            raise DocumentDeleted(f"The document {document.name} (id {document.id}) was deleted.")
        if kept.content is not None:
            content: bytes | None = bytes(kept.content)
        else:
            content = self._wanted().read(kept.key or "", kept.size + 1)
        if content is None:
            raise DocumentLost(
                f"The document {document.name} (id {document.id}) is not in the store under its "
                f"key {kept.key}. Is BROADSHEET_S3_BUCKET the one it was stored in?"
            )
        if len(content) != kept.size or hashlib.sha256(content).hexdigest() != kept.sha256:
            raise DocumentLost(
                f"The document {document.name} (id {document.id}) is damaged: what the store has "
                f"under {kept.key} is not what was stored (size and SHA-256 were compared)."
            )
        return content

    def clear(self, pool: Pool) -> int:
        """Delete a batch of objects that no document has; return how many these were.

        To be called with no transaction open. What cannot be deleted now is left for later, and
        keeps nothing else from being deleted; the first fault is raised at the end. Raises
        `StoreAway`, `DatabaseAway`.
        """
        if self._store is None:
            return 0
        with db.transaction(pool) as conn:
            keys = documents.condemn_objects(conn, limit=BATCH, again=AGAIN)
        deleted: list[str] = []
        first: StoreAway | None = None
        for key in keys:
            try:
                self._store.delete(key)
            except StoreFault as exc:
                # An answer, so the next object may have another: one may be locked, say.
                first = first or exc
            except StoreAway as exc:
                # Nobody answers, and to find that out of each would take an hour.
                first = first or exc
                break
            else:
                deleted.append(key)
        if deleted:
            with db.transaction(pool) as conn:
                documents.forget_objects(conn, deleted)
        if first:
            raise first
        return len(deleted)

    def move(self, pool: Pool, document_id: int, to: str) -> bool:
        """Have a document lie in the store `to`; False: it is gone, or lies there.

        Raises like `contents` and `keep`.
        """
        with db.transaction(pool) as conn:
            document = documents.any_kind(conn, document_id)
            old = documents.kept(conn, [document_id]).get(document_id)
        if document is None or old is None or (old.key is None) == (to == POSTGRES):
            return False
        try:
            content = self._content(document, old)
        except DocumentLost:
            with db.transaction(pool) as conn:
                now = documents.kept(conn, [document_id]).get(document_id)
            if now is None or now.key != old.key:
                # Deleted meanwhile, or moved by another, and its object after it.
                return False
            raise
        [new] = [Kept.of(content)] if to == POSTGRES else self._upload(pool, [content])
        with db.transaction(pool) as conn:
            return documents.relocate(conn, document_id, old, new, due_in=MOVED_KEPT)

    def unknown(self, pool: Pool) -> Iterator[str]:
        """Give the keys in the store that the database knows nothing of.

        Such are there after a restore: uploaded since the backup. Raises `StoreAway`.
        """
        batch: list[str] = []
        for key in self._wanted().keys():  # noqa: SIM118 - it is no dict
            batch.append(key)
            if len(batch) == BATCH:
                yield from _unknown_of(pool, batch)
                batch = []
        yield from _unknown_of(pool, batch)

    def discard(self, key: str) -> None:
        """Delete an object. Raises `StoreAway`."""
        self._wanted().delete(key)

    def probe(self) -> None:
        """Write, read and delete an object. Raises `StoreAway`."""
        store, key = self._wanted(), _new_key("probe")
        store.write(key, PROBE)
        try:
            if store.read(key, len(PROBE) + 1) != PROBE:
                raise StoreAway("The store gives back something else than what was written.")
        finally:
            store.delete(key)

    def _wanted(self) -> Store:
        if self._store is None:
            raise SettingsError(
                "Documents lie in an S3-compatible store, of which this process knows nothing: set "
                "BROADSHEET_S3_BUCKET here as well, also where new ones go to Postgres."
            )
        return self._store


def _new_key(folder: str = "") -> str:
    """Return a key that nothing else has or will have, whatever database was restored."""
    name = uuid.uuid4().hex
    return f"{folder or name[:2]}/{name}"


def _unknown_of(pool: Pool, keys: Sequence[str]) -> list[str]:
    with db.transaction(pool) as conn:
        return documents.unknown_objects(conn, keys)
