from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from urllib.parse import parse_qs, urlsplit

import pytest

from shared import links

OLD, NEW = b"an older key of us", b"a newer key of us"
UNTIL = dt.datetime(2026, 1, 12, 8, tzinfo=dt.UTC)


def test_a_link_holds_what_it_takes_to_check_it() -> None:
    parts = urlsplit(links.address("https://reports.example.org/sub", NEW, 3, 7, UNTIL))
    query = parse_qs(parts.query)
    assert parts.path == "/sub/api/reports/documents/7"
    assert query["expires"] == [str(int(UNTIL.timestamp()))]
    assert query["org"] == ["3"]
    assert links.genuine([NEW], 3, 7, int(UNTIL.timestamp()), query["signature"][0])


def test_the_signature_of_an_older_key_is_accepted_as_long_as_that_is_listed() -> None:
    signature = links.signature(OLD, 3, 7, 100)
    assert links.genuine([NEW, OLD], 3, 7, 100, signature)
    assert not links.genuine([NEW], 3, 7, 100, signature)


@pytest.mark.parametrize(
    ("org_id", "document_id", "expires", "shown"),
    [
        (4, 7, 100, links.signature(NEW, 3, 7, 100)),
        (3, 8, 100, links.signature(NEW, 3, 7, 100)),
        (3, 7, 101, links.signature(NEW, 3, 7, 100)),
        (3, 7, 100, links.signature(NEW, 3, 7, 100).upper()),
        (3, 7, 100, links.signature(NEW, 3, 7, 100)[:-1]),
        (3, 7, 100, links.signature(NEW, 3, 7, 100) + "0"),
        (3, 7, 100, ""),
        (3, 7, 100, "ü"),
        (3, 7, 100, "x" * 100_000),
        # The parts cannot be shifted into each other.
        (3, 71, 0, links.signature(NEW, 3, 7, 10)),
        (37, 1, 0, links.signature(NEW, 3, 71, 0)),
    ],
)
def test_nothing_of_a_link_can_be_changed(
    org_id: int, document_id: int, expires: int, shown: str
) -> None:
    assert not links.genuine([NEW], org_id, document_id, expires, shown)


def test_a_signature_is_for_links_only() -> None:
    """What else is signed with the same key some day has another purpose, and does not fit."""
    bare = hmac.new(NEW, b"3\n7\n100", hashlib.sha256).hexdigest()
    other = hmac.new(NEW, b"another purpose\n3\n7\n100", hashlib.sha256).hexdigest()
    assert not links.genuine([NEW], 3, 7, 100, bare)
    assert not links.genuine([NEW], 3, 7, 100, other)


def test_every_key_is_tried_wherever_the_right_one_stands() -> None:
    signature = links.signature(OLD, 3, 7, 100)
    for keys in ([OLD], [OLD, NEW], [NEW, OLD], [NEW, b"x" * 16, OLD]):
        assert links.genuine(keys, 3, 7, 100, signature)
    assert not links.genuine([], 3, 7, 100, signature)
