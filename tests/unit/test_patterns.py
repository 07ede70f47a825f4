"""No pattern of ours takes long over a text that was made to keep it busy."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import re
import time
from collections.abc import Iterator

import pytest

import api
import beat
import shared
import workers
from api import addresses

#: A pattern that takes the square of it needs some ten milliseconds, one that takes the cube
#: many seconds, and one that takes a power of two never ends.
LENGTH = 1_500
SECONDS = 1.0
#: Where what is looked at is never longer.
SHORTER = {"api.addresses._ADDRESS": addresses.LONGEST}
#: What is repeated: whatever our patterns have in their repetitions.
PIECES = (
    *("a", "Z", "0", "1", "_", "-", "+", ".", ",", " ", "\t", "\n", "@", "/", "=", "%", "&", "?"),
    *("<", ">", "(", ")", "[", "]", "{", "}", '"', "'", "\\", ";", ":", "$", "#", "!", "é", "€"),
    *("a.", "@.", "a@", "1,", "1.", "1 ", "a=", "a&", "${a", "[[", "now-", "-1d", "/d", "e1"),
    *('\\"', "<a ", "</", "0x", "a-", "::", "T0", ",;", "data:", "requestId=1&", '"a":', "=?"),
)
STARTS = ("", "-1", "a@")
ENDS = ("", "\0", "<")
#: They start the process, and read the environment.
PROGRAMS = {"api.wsgi", "api.gunicorn_conf", "workers.app", "workers.tasks", "beat.app"}


def patterns() -> Iterator[tuple[str, re.Pattern]]:
    for package in (api, beat, shared, workers):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if found.name in PROGRAMS:
                continue
            module = importlib.import_module(found.name)
            for name, value in vars(module).items():
                if isinstance(value, re.Pattern) and value.pattern:
                    yield f"{found.name}.{name}", value


FOUND = dict(patterns())


def test_there_are_patterns_to_be_tried() -> None:
    assert len(FOUND) > 30


@pytest.mark.parametrize("name", FOUND)
def test_no_text_keeps_a_pattern_busy(name: str) -> None:
    pattern = FOUND[name]
    length = SHORTER.get(name, LENGTH)
    for piece, start, end in itertools.product(PIECES, STARTS, ENDS):
        text = start + piece * (length // len(piece)) + end
        content = text.encode() if isinstance(pattern.pattern, bytes) else text
        began = time.monotonic()
        pattern.fullmatch(content)
        pattern.search(content)
        assert time.monotonic() - began < SECONDS, (piece, start, end)
