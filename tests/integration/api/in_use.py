"""Which metrics an expression asks for, and whether they are told anywhere."""

from __future__ import annotations

import re
from collections.abc import Mapping

from shared.meters import METERS
from tests.integration.api.fakes import Caller

#: What a histogram and a counter are called by their parts.
PARTS = re.compile(r"_(bucket|count|sum|total)$")
SELECTOR = re.compile(r"\b(broadsheet_\w+)(?:\{([^}]*)\})?")
LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")


def told(caller: Caller) -> dict[str, set[str]]:
    """Return the labels of every metric, by its name without the part.

    What the API tells of the database is asked of `/metrics`; what workers and beats tell of
    themselves stands in `METERS`.
    """
    found = {f"broadsheet_{name}": set(meter.labels) for name, meter in METERS.items()}
    text = caller.ask("GET", "/metrics").text
    for name in re.findall(r"^# TYPE (\S+)", text, re.MULTILINE):
        found.setdefault(_whole(name), set())
    for name, labels in re.findall(r"^(broadsheet_\w+)\{([^}]*)\}", text, re.MULTILINE):
        found.setdefault(_whole(name), set()).update(LABEL.findall(labels))
    return found


def unknown(expression: str, known: Mapping[str, set[str]]) -> list[str]:
    """Return the selectors of the expression for which there is no metric, or no such label."""
    return [
        f"{name}{{{labels}}}"
        for name, labels in SELECTOR.findall(expression)
        if _whole(name) not in known
        or not set(LABEL.findall(labels)) <= known[_whole(name)] | {"instance", "job", "le"}
    ]


def _whole(name: str) -> str:
    return PARTS.sub("", name)
