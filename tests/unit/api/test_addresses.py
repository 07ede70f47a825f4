from __future__ import annotations

import pytest
from werkzeug.exceptions import BadRequest

from api import addresses


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ()),
        ("a@b.c", ("a@b.c",)),
        ("a@b.c,d@e.f", ("a@b.c", "d@e.f")),
        (" a@b.c ; d@e.f;;, g@h.i ", ("a@b.c", "d@e.f", "g@h.i")),
        ("b@b.c,a@b.c,b@b.c", ("b@b.c", "a@b.c", "b@b.c")),
        ("O'Neil+x/y@mail.example", ("O'Neil+x/y@mail.example",)),
        ("jürgen@büro.de", ("jürgen@büro.de",)),
        ("Ada <ada@x.org>", ("Ada <ada@x.org>",)),
    ],
)
def test_addresses_are_split_at_commas_and_semicolons_in_order(
    text: str, found: tuple[str, ...]
) -> None:
    assert addresses.parse("recipients", text) == found


@pytest.mark.parametrize(
    "text",
    [
        *("a", "a@b", "@b.c", "a@b.c,x", "a@b.c\nb@b.c", "a\0@b.c", "a" * 320 + "@b.c"),
        *('"a@b.c" <root>', "Ada <>"),
    ],
)
def test_what_is_no_address_is_refused_naming_the_field(text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        addresses.parse("replyTo", text)
    assert str(caught.value.description).startswith("replyTo: ")


def test_addresses_are_shown_with_commas_and_without_spaces() -> None:
    assert addresses.shown(["a@b.c", "d@e.f"]) == "a@b.c,d@e.f"
