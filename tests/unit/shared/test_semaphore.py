"""Processes that never meet know a semaphore by the same number."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.semaphore import family


def test_a_name_has_the_same_number_in_every_process() -> None:
    assert family("http://grafana.example") == -793296490


@given(st.text())
def test_the_number_fits_a_lock_of_postgres(name: str) -> None:
    assert -(2**31) <= family(name) < 2**31
