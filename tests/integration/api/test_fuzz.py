"""Requests that are made up: `make fuzz` in its short form. The long form takes a number."""

from __future__ import annotations

import pytest

from shared import db
from shared.settings import Settings
from tests.fuzz.scene import build
from tests.fuzz.throw import throw

REQUESTS, SEED = 1_200, 7


@pytest.mark.timeout(300)
def test_no_request_meets_a_fault_another_organisation_or_an_answer_not_described(
    settings: Settings, pool: db.Pool
) -> None:
    found = throw(build(settings, pool), requests=REQUESTS, seed=SEED)
    assert found.requests > REQUESTS / 2
    unanswered = [
        label
        for label, statuses in found.by_operation.items()
        # Run 1 is over, so what is for runs under way is told so.
        if not (statuses[200] or statuses[204] or statuses[409])
    ]
    assert unanswered == [], "the requests are too wild to be taken at all"
