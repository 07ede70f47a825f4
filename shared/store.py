"""A store of objects: what documents may lie in besides Postgres has to be able to do this.

The words and rules are `shared.documents`; this is the seam at which another store is put in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from shared.errors import Transient


class StoreAway(Transient):
    """The store of documents does not answer; check BROADSHEET_S3_ENDPOINT and that it is up."""


class StoreFault(StoreAway):
    """The store of documents answers with an error of its own; its log may say more."""


class StoreRefused(StoreFault):
    """The store of documents refuses us; check BROADSHEET_S3_BUCKET and the key's permissions."""


class Store(Protocol):
    """Keeps bytes under keys. Every call is bounded in time.

    Raises `StoreAway`, also where it refuses us (what is wrong there is mended by a person); where
    it did answer, a `StoreFault`.
    """

    def write(self, key: str, content: bytes) -> None:
        """Keep `content` under `key`, which nothing else has."""

    def read(self, key: str, most: int) -> bytes | None:
        """Return what is there, no more than `most` bytes of it; None: there is nothing."""

    def delete(self, key: str) -> None:
        """Delete what is there; nothing there is as good."""

    def keys(self) -> Iterator[str]:
        """Give the keys of everything there is."""
