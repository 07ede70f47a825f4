"""A place among the queries that all workers together may have at one Grafana."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Protocol


class Places(Protocol):
    """Lends places, one per query; `shared.semaphore` is such a lender."""

    def place(self) -> AbstractAsyncContextManager[None]:
        """Wait for a place, and keep it while inside."""

    async def settle(self) -> None:
        """Wait until all that was lent is back where others can have it."""

    async def close(self) -> None:
        """Give everything back at once; it can be used again afterwards."""


class Unlimited:
    """For who works alone: every query has its place."""

    def place(self) -> AbstractAsyncContextManager[None]:
        """Wait for nothing."""
        return nullcontext()

    async def settle(self) -> None:
        """Nothing is lent."""

    async def close(self) -> None:
        """Nothing is held."""
