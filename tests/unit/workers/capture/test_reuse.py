"""Which pages may show the next dashboard without being loaded anew: those that are sure."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from workers.capture import reuse
from workers.capture.reuse import Past, Plugins, Wanted

BUILT_IN = {"signature": "internal", "module": "core:plugin/text"}
OLDER = {"signature": "internal", "module": "app/plugins/panel/stat/module"}
INSTALLED = {"signature": "valid", "module": "plugins/acme-clock-panel/module"}
SETTINGS = {
    "panels": {"text": BUILT_IN, "stat": OLDER, "acme-clock-panel": INSTALLED},
    "datasources": {
        "Metrics": {"uid": "m1", "meta": {"signature": "internal", "module": "core:plugin/x"}},
        "Acme": {"uid": "a1", "meta": INSTALLED},
    },
    "defaultDatasource": "Metrics",
    "disableSanitizeHtml": False,
}


def document(settings: Any, before: str = '"user": {"name": "x"},') -> bytes:
    text = f"<script>window.grafanaBootData = {{ {before} settings: {json.dumps(settings)} }};"
    return text.encode()


def plugins(**more: Any) -> Plugins:
    found = reuse.plugins_of(document(SETTINGS | more))
    assert found is not None
    return found


def answer(*panels: Any, **more: Any) -> dict[str, Any]:
    return {"dashboard": {"panels": list(panels), **more}}


PANEL = {"type": "text"}
CLOCK = {"type": "acme-clock-panel"}
SURE = Past(
    theme="light",
    loaded_at=100.0,
    plugins=plugins(),
    uids=frozenset({"a"}),
    is_legacy=False,
    is_own=True,
    is_sound=True,
    is_left=True,
)


def wanted(uid: str = "b", theme: str = "light", *panels: Any) -> Wanted:
    return Wanted(uid, theme, answer(*(panels or (PANEL,))))


def test_a_page_of_grafanas_own_code_goes_on_to_another_dashboard() -> None:
    assert reuse.may_stay(SURE, wanted(), at=101.0)
    assert reuse.may_stay(SURE, None, at=101.0)


@pytest.mark.parametrize(
    "doubt",
    [
        {"plugins": None},
        {"plugins": plugins(disableSanitizeHtml=True)},
        {"plugins": plugins(disableSanitizeHtml=None)},
        {"is_own": False},
        {"is_sound": False},
        {"loaded_at": 100.0 - reuse.OLDEST},
    ],
    ids=["boot data unknown", "scripts allowed", "not said", "foreign code", "unsound", "old"],
)
def test_any_doubt_has_the_page_loaded_anew(doubt: dict[str, Any]) -> None:
    past = replace(SURE, **doubt)
    assert not reuse.may_stay(past, wanted(), at=101.0)
    assert not reuse.may_stay(past, None, at=101.0)


def test_a_page_of_which_nothing_is_known_is_loaded_anew() -> None:
    assert not reuse.may_stay(None, wanted(), at=101.0)


def test_a_page_that_still_shows_a_dashboard_is_loaded_anew() -> None:
    assert not reuse.may_stay(replace(SURE, is_left=False), wanted(), at=101.0)


def test_another_theme_is_loaded_anew() -> None:
    assert not reuse.may_stay(SURE, wanted(theme="dark"), at=101.0)


def test_only_the_older_front_end_comes_back_to_a_dashboard() -> None:
    assert not reuse.may_stay(SURE, wanted("a"), at=101.0)
    assert reuse.may_stay(replace(SURE, is_legacy=True), wanted("a"), at=101.0)


def test_a_dashboard_with_foreign_code_is_loaded_anew() -> None:
    assert not reuse.may_stay(SURE, wanted("b", "light", PANEL, CLOCK), at=101.0)


@pytest.mark.parametrize(
    ("panel", "own"),
    [
        ({"type": "stat"}, True),
        ({"type": "row", "panels": [PANEL]}, True),
        ({"type": "row", "panels": [PANEL, CLOCK]}, False),
        ({"type": "row", "collapsed": True, "panels": [{"type": "row", "panels": [CLOCK]}]}, False),
        (CLOCK, False),
        ({"type": "nobody-knows-panel"}, False),
        ({"type": "text", "libraryPanel": {"uid": "l"}}, False),
        ({"libraryPanel": {"uid": "l"}}, False),
        ({"type": 7}, False),
        ("text", False),
        ({"type": "text", "datasource": None}, True),
        ({"type": "text", "datasource": "Metrics"}, True),
        ({"type": "text", "datasource": "Acme"}, False),
        ({"type": "text", "datasource": "default"}, True),
        ({"type": "text", "datasource": {"type": "x", "uid": "m1"}}, True),
        ({"type": "text", "datasource": {"type": "x", "uid": "a1"}}, False),
        ({"type": "text", "datasource": {"uid": "new-since-then"}}, False),
        ({"type": "text", "datasource": {"uid": "$source"}}, False),
        ({"type": "text", "datasource": {"uid": ["m1"]}}, False),
        ({"type": "text", "targets": [{"datasource": {"uid": "a1"}}]}, False),
        ({"type": "text", "targets": [{"datasource": {"uid": "__expr__"}}]}, True),
    ],
)
def test_every_panel_and_data_source_counts(panel: Any, own: bool) -> None:
    assert reuse.runs_own_code(plugins(), answer(panel)) is own


def test_data_sources_of_variables_and_annotations_count() -> None:
    listed = {"list": [{"type": "query", "datasource": {"uid": "a1"}}]}
    assert not reuse.runs_own_code(plugins(), answer(PANEL, templating=listed))
    assert not reuse.runs_own_code(plugins(), answer(PANEL, annotations=listed))


def test_where_nothing_is_installed_what_is_open_is_own() -> None:
    own = plugins(panels={"text": BUILT_IN}, datasources={"M": {"meta": BUILT_IN}})
    assert reuse.runs_own_code(own, answer({"libraryPanel": {"uid": "l"}}))
    assert reuse.runs_own_code(own, answer({"type": "text", "datasource": {"uid": "${source}"}}))
    assert reuse.runs_own_code(own, {"spec": {"elements": {}}})
    assert not reuse.runs_own_code(own, answer({"type": "new-since-then-panel"}))


def test_a_shape_that_is_not_known_may_hold_anything() -> None:
    assert not reuse.runs_own_code(plugins(), {"spec": {"elements": {}}})
    assert not reuse.runs_own_code(plugins(), {})


def test_the_models_of_newer_routes_are_read_as_well() -> None:
    assert reuse.runs_own_code(plugins(), {"spec": {"panels": [PANEL]}})
    assert not reuse.runs_own_code(plugins(), {"spec": {"panels": [CLOCK]}})


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"<html>no boot data</html>",
        b"window.grafanaBootData = { settings: {",
        document([]),
        document({"panels": {}}),
        document({"panels": {}, "datasources": {"M": "?"}}),
        document(SETTINGS, before="user: nobody(),"),
    ],
)
def test_a_document_that_does_not_say_is_unsure(page: bytes) -> None:
    assert reuse.plugins_of(page) is None


def test_settings_in_a_name_are_not_those_of_grafana() -> None:
    name = 'x", settings: {"panels": {}, "datasources": {}}, "y": "'
    found = reuse.plugins_of(document(SETTINGS, before=f'user: {{"name": {json.dumps(name)}}},'))
    assert found == plugins()


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"[" * 100_000])
def test_a_dashboard_that_is_no_json_object_is_unsure(body: bytes) -> None:
    assert not reuse.runs_own_code(plugins(), reuse.answer_of(body))
