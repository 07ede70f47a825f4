"""One stack for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.harness import Service, serving


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A stack for all tests of a module; a dead worker is noticed after seconds."""
    with serving(tmp_path_factory.mktemp("stack"), LEASE_SECONDS="3") as service:
        yield service
