"""JSON that is made to take time, memory or a stack: 400, and at once."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from werkzeug.exceptions import BadRequest

from api import addresses
from api.errors import LONGEST, shortened
from api.parser import parse_json

#: As large as a body may be.
MEGABYTE = 1_000_000
SECONDS = 2.0

BOMBS = {
    "arrays in arrays": "[" * MEGABYTE,
    "arrays in arrays, closed": "[" * 100_000 + "]" * 100_000,
    "objects in objects": '{"a":' * (MEGABYTE // 5),
    "arrays and objects": '[{"a":' * (MEGABYTE // 6),
    "a number of a million digits": "1" * MEGABYTE,
    "a negative one": "-" + "9" * MEGABYTE,
    "5,000 digits": "[" + "1" * 5_000 + "]",
    "a great exponent": "1e999",
    "a greater one": "-1e" + "9" * MEGABYTE,
    "many great ones": "[" + "1e999," * 100_000 + "1]",
    "NaN": "NaN",
    "Infinity": "[-Infinity]",
    "hex": "0x10",
    "leading zero": "01",
    "a plus": "+1",
    "a point": ".5",
    "a comma too many": "[1,]",
    "a comment": "/**/1",
    "two values": "1 2",
    "nothing": "",
    "a mark": "\ufeff",
    "single quotes": "{'a':1}",
    "no quotes": "{a:1}",
    "one name twice": '{"a":1,"a":2}',
    "one name twice among very many": (
        "{" + ",".join(f'"{n}":1' for n in range(90_000)) + ',"89999":2}'
    ),
    "the same, written differently": '{"a":1,"\\u0061":2}',
    "half of a pair": '"\\ud800"',
    "the other half": '{"\\udc00":1}',
    "halves in the wrong order": '"\\udc00\\ud800"',
    "NUL": '"\\u0000"',
    "NUL in a name": '{"a\\u0000":1}',
    "a raw line break": '"a\nb"',
    "no UTF-8": b'"\xff"',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "overlong UTF-8": b'"\xc0\xaf"',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "an open text": '"' + "a" * MEGABYTE,
    "backslashes": '"' + "\\" * (MEGABYTE - 1),
    "spaces": " " * MEGABYTE,
    "NUL below a long name": '{"' + "x" * 400_000 + '":["\\u0000"]}',
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_400_at_once_with_a_short_sentence(name: str) -> None:
    bomb = BOMBS[name]
    began = time.monotonic()
    with pytest.raises(BadRequest) as caught:
        parse_json(bomb)
    assert time.monotonic() - began < SECONDS
    assert len(str(caught.value.description)) < 500


BURDENS = {
    "a long name above very many values": '{"' + "x" * 400_000 + '":[' + "1," * 200_000 + "1]}",
    "very many names": "{" + ",".join(f'"{n}":1' for n in range(90_000)) + "}",
    "very many empty objects": "[" + "{}," * 300_000 + "{}]",
    "very many digits after the point": "0." + "1" * MEGABYTE,
    "a small exponent": "1e-" + "9" * MEGABYTE,
    "zeros": "0e" + "9" * MEGABYTE,
}


@pytest.mark.parametrize("name", BURDENS)
def test_what_is_json_but_a_burden_takes_little_time_and_memory(name: str) -> None:
    tracemalloc.start()
    began = time.monotonic()
    parse_json(BURDENS[name])
    took, (_, most) = time.monotonic() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert took < 5 * SECONDS  # tracing slows it down
    assert most < 200 * MEGABYTE


def test_an_error_is_never_as_long_as_what_caused_it() -> None:
    assert len(shortened("x" * MEGABYTE)) == LONGEST + 1


@pytest.mark.parametrize(
    "text",
    [
        "@." * 25_000 + "<",
        "a@b." + "c" * 49_000,
        "(" * 50_000,
        "(" * 300 + "a@b.c",
        "<" * 50_000,
        '"\\' * 25_000,
        "a" * 49_990 + "@b.c",
        "@" * 50_000,
        "a@" * 25_000,
        " " * 49_000 + "@b.c x",
        "\u202ea@b.c",
        "a@b\u2066.c",
        "a\u200b@b.c",
        "a@b.c\r\nBcc: d@e.f",
        "a@b.c>\r\nRCPT TO:<d@e.f",
        "\x1b[2Ja@b.c",
    ],
)
def test_an_address_that_is_made_to_harm_is_400_at_once_and_shown_harmless(text: str) -> None:
    began = time.monotonic()
    with pytest.raises(BadRequest) as caught:
        addresses.parse("recipients", text)
    assert time.monotonic() - began < SECONDS
    told = str(caught.value.description)
    assert told.startswith("recipients: ")
    assert told.isprintable()
    assert len(told) < 300
