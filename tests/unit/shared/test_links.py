from __future__ import annotations

import datetime as dt
from urllib.parse import parse_qs, urlsplit

import pytest

from shared import links

OLD, NEW = b"an older key of us", b"a newer key of us"
UNTIL = dt.datetime(2026, 1, 12, 8, tzinfo=dt.UTC)


def test_a_link_holds_what_it_takes_to_check_it() -> None:
    parts = urlsplit(links.address("https://reports.example.org/sub", NEW, 7, UNTIL))
    query = parse_qs(parts.query)
    assert parts.path == "/sub/api/reports/documents/7"
    assert query["expires"] == [str(int(UNTIL.timestamp()))]
    assert links.genuine([NEW], 7, int(UNTIL.timestamp()), query["signature"][0])


def test_the_signature_of_an_older_key_is_accepted_as_long_as_that_is_listed() -> None:
    signature = links.signature(OLD, 7, 100)
    assert links.genuine([NEW, OLD], 7, 100, signature)
    assert not links.genuine([NEW], 7, 100, signature)


@pytest.mark.parametrize(
    ("document_id", "expires", "shown"),
    [
        (8, 100, links.signature(NEW, 7, 100)),
        (7, 101, links.signature(NEW, 7, 100)),
        (7, 100, links.signature(NEW, 7, 100).upper()),
        (7, 100, links.signature(NEW, 7, 100)[:-1]),
        (7, 100, ""),
        (7, 100, "ü"),
        # The parts cannot be shifted into each other.
        (71, 0, links.signature(NEW, 7, 10)),
    ],
)
def test_nothing_of_a_link_can_be_changed(document_id: int, expires: int, shown: str) -> None:
    assert not links.genuine([NEW], document_id, expires, shown)
