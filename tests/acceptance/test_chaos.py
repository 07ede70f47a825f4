"""Everything dies at random, and each mail comes once or is explained by a state."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.story import tell

#: `make chaos` takes others, and goes on for as long as it is told.
SEED, SECONDS = 7, 25.0


@pytest.mark.timeout(360)
def test_whatever_is_killed_no_mail_is_lost_and_none_comes_twice(tmp_path: Path) -> None:
    story = tell(tmp_path / "log", seed=SEED, seconds=SECONDS)

    assert story.verdict.lost == []
    assert story.verdict.double == []
    assert story.verdict.wrong == []
    assert story.verdict.broke == []
    assert len(story.faults) > 3
    assert story.verdict.deliveries["sent"] > 3
    assert sum(ask.done for ask in story.asks) > 1
