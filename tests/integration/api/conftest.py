"""The API as a test client, on a real Postgres, with fakes for what stands outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from api.app import create_app
from shared import db, runs, tokens
from shared.settings import Settings
from tests.fakes import RecordingBell
from tests.integration.api.fakes import Caller, Clock, FakeGrafana, FakeWaiter


@pytest.fixture
def grafana() -> FakeGrafana:
    return FakeGrafana()


@pytest.fixture
def bell() -> RecordingBell:
    return RecordingBell()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def waiter(pool: db.Pool) -> FakeWaiter:
    """Workers that send everything at once."""

    def work(run_id: int) -> bool:
        with db.transaction(pool) as conn:
            return runs.finish(conn, run_id, "sent")

    return FakeWaiter(work)


@pytest.fixture
def app(
    settings: Settings,
    pool: db.Pool,
    bell: RecordingBell,
    grafana: FakeGrafana,
    waiter: FakeWaiter,
    clock: Clock,
) -> Flask:
    return create_app(settings, pool=pool, bell=bell, grafana=grafana, waiter=waiter, clock=clock)


@pytest.fixture
def token(pool: db.Pool) -> Callable[..., str]:
    """Makes tokens: `token(role=…)` or `token(permissions=…)`, of org 1 unless told."""

    def make(**how: Any) -> str:
        with db.transaction(pool) as conn:
            return tokens.create(conn, **{"org_id": 1, "name": "test", **how})[1]

    return make


@pytest.fixture
def caller(app: Flask, token: Callable[..., str]) -> Callable[..., Caller]:
    """Makes callers as `token` makes tokens; `caller(secret=…)` for a token of the test's own."""

    def make(secret: str | None = "", **how: Any) -> Caller:
        return Caller(app.test_client(), token(**how) if secret == "" else secret)

    return make


@pytest.fixture
def admin(caller: Callable[..., Caller]) -> Caller:
    return caller(role="Admin")
