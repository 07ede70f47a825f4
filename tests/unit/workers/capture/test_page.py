"""Addresses that open a dashboard for a capture, and the scripts that go into its page."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

import pytest

from workers.capture import page
from workers.capture.page import Scripts


def query_of(path: str) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(path).query, keep_blank_values=True)


def path(variables: Mapping[str, tuple[str, ...]] | None = None) -> str:
    return page.dashboard_path("abc", from_ms=1000, to_ms=2000, variables=variables or {})


def test_the_range_is_in_the_address_as_two_instants() -> None:
    assert path() == "/d/abc/_?from=1000&to=2000"


def test_every_value_of_a_variable_is_passed() -> None:
    pairs = query_of(path({"node": ("a", "b"), "region": ("eu",)}))
    assert pairs[2:] == [("var-node", "a"), ("var-node", "b"), ("var-region", "eu")]


@pytest.mark.parametrize("text", ["a&b=c", "x#y", "100 %", "Grüße, 世界", "a+b", "", "host|=|web"])
def test_any_text_survives_the_address(text: str) -> None:
    assert ("var-v", text) in query_of(path({"v": (text,)}))
    assert "#" not in path({"v": (text,)})


def test_a_capture_asks_for_the_page_without_menus_in_theme_and_zone() -> None:
    asked = dict(parse_qsl(page.capture_query(theme="dark", time_zone="Europe/Vienna")))
    assert (asked["kiosk"], asked["theme"], asked["timezone"]) == ("1", "dark", "Europe/Vienna")
    # An empty `refresh` is ignored by newer front-ends: the boot script turns it off.
    assert "refresh" not in asked


def test_scripts_are_expressions_without_comment_before_or_semicolon_after() -> None:
    scripts = vars(Scripts())
    for name in ("state", "settled", "boxes", "labels", "place", "tables", "variables"):
        assert scripts[name].startswith(("(", "async ("))
        assert scripts[name].endswith("}")


def test_the_script_that_runs_first_is_a_statement_of_its_own() -> None:
    assert Scripts().init.rstrip().endswith("})();")
