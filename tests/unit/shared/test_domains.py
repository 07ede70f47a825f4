from __future__ import annotations

import pytest

from shared.domains import is_allowed


@pytest.mark.parametrize(
    ("address", "rules", "allowed"),
    [
        ("a@anything.example", ("*",), True),
        ("a@anything.example", ("example.org", "*"), True),
        ("a@example.org", ("example.org",), True),
        ("a@EXAMPLE.org.", ("example.ORG",), True),
        ("Ada <ada@example.org>", ("example.org",), True),
        ("a@example.com", ("example.org", "example.com"), True),
        ("a@mail.example.org", ("example.org",), False),
        ("a@notexample.org", ("example.org",), False),
        ("a@example.org.evil.com", ("example.org",), False),
        ("a@mail.example.org", ("*.example.org",), True),
        ("a@b.mail.example.org", ("*.example.org",), True),
        ("a@example.org", ("*.example.org",), False),
        ("a@notexample.org", ("*.example.org",), False),
        ("a@bücher.example", ("xn--bcher-kva.example",), True),
        ("a@xn--bcher-kva.example", ("Bücher.example",), True),
        ("a@in_house.example", ("in_house.example",), True),
        # Whoever looks allowed and is not the one that gets the mail.
        ('"a@example.org" <b@evil.com>', ("example.org",), False),
        ('"a@example.org"@evil.com', ("example.org",), False),
        ("no address", ("example.org",), False),
    ],
)
def test_a_domain_is_allowed_by_its_name_by_what_it_is_below_or_by_a_star(
    address: str, rules: tuple[str, ...], allowed: bool
) -> None:
    assert is_allowed(address, rules) is allowed
