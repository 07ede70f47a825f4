"""Whether a page may show the next dashboard without being loaded anew. Pure.

Going to a dashboard within Grafana's front-end saves most of a warm capture's time, and keeps the
page's JavaScript from one dashboard to the next. So it is for pages in which nothing but Grafana's
own code ran, as far as the worker itself saw: what a page says of itself counts for nothing here,
since a script could say it. Whatever is unsure has the page loaded anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

#: A document knows the data sources and plugins of when it was loaded, in seconds.
OLDEST = 300.0
#: Where plugins come from that are built into Grafana; others have a place of their own.
BUILT_IN = re.compile(r"(core:plugin|app/plugins)/")
#: Expressions are no data source that the boot data list.
EXPRESSIONS = "__expr__"
#: A reference without a name, and one by this name, mean the default data source.
DEFAULT = ("", "default", "-- Default --")
BOOT_DATA = re.compile(r"\bgrafanaBootData\s*=\s*\{")
#: Nothing is tried twice ("*+"): white space alone would take the square of its length.
MEMBER = re.compile(r"""\s*+,?+\s*+["']?(\w++)["']?\s*+:\s*+""")


@dataclass(frozen=True, slots=True)
class Plugins:
    """What Grafana told of its plugins in the page's document.

    Panel types, and data sources by name and by uid, each with whether its code is Grafana's own;
    `sanitizes`: text panels cannot hold scripts.
    """

    panels: Mapping[str, bool]
    sources: Mapping[str, bool]
    sanitizes: bool

    @property
    def are_all_own(self) -> bool:
        """Whether no dashboard of this Grafana can run anybody else's code."""
        return all(self.panels.values()) and all(self.sources.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What became of a page since its document was loaded, at `loaded_at` in `theme`.

    `uids` were shown in it. `is_own`: of each of them all plugins are Grafana's own. `is_sound`:
    captures ended well, and nothing happened that the front-end does not do by itself. `is_left`:
    it shows none of them any more.
    """

    theme: str
    loaded_at: float
    plugins: Plugins | None
    uids: frozenset[str]
    is_legacy: bool
    is_own: bool
    is_sound: bool
    is_left: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """The dashboard that comes next, with Grafana's answer of what is on it."""

    uid: str
    theme: str
    answer: Mapping[str, Any]


def may_stay(past: Past | None, wanted: Wanted | None, *, at: float) -> bool:
    """Say whether the page may go on to a dashboard; None: to any, as far as is known now.

    The theme is decided when a document is answered. A newer front-end keeps the scene of each
    dashboard, with its range and variables, and shows that one again; the older one asks anew.
    """
    if past is None or past.plugins is None or not (past.is_own and past.is_sound):
        return False
    if not past.plugins.sanitizes or at - past.loaded_at > OLDEST:
        return False
    if wanted is None:
        return True
    return (
        past.is_left
        and past.theme == wanted.theme
        and (past.is_legacy or wanted.uid not in past.uids)
        and runs_own_code(past.plugins, wanted.answer)
    )


def runs_own_code(plugins: Plugins, answer: Mapping[str, Any]) -> bool:
    """Whether all that a dashboard shows is of Grafana's own plugins.

    What the dashboard leaves open (a library panel, a data source by variable, a shape not known
    here) may be any of them. A plugin or data source that is not known may be newer than the page.
    """
    model = answer.get("dashboard", answer.get("spec"))
    if not isinstance(model, dict) or not isinstance(model.get("panels"), list):
        return plugins.are_all_own
    for kind in _panel_types(model):
        if not (plugins.are_all_own if kind is None else plugins.panels.get(kind, False)):
            return False
    for source in _sources(model):
        if not (plugins.are_all_own if source is None else plugins.sources.get(source, False)):
            return False
    return True


def answer_of(body: bytes) -> Mapping[str, Any]:
    """Return a dashboard as the page was given it; nothing where that is no JSON object."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    return answer if isinstance(answer, dict) else {}


def _panel_types(model: Mapping[str, Any]) -> Iterator[str | None]:
    """Yield the type of each panel, also of those inside rows; None where it is not certain."""
    pending = list(model["panels"])
    while pending:
        panel = pending.pop()
        if not isinstance(panel, dict):
            yield None
            continue
        inner = panel.get("panels")
        pending += inner if isinstance(inner, list) else []
        kind = panel.get("type")
        if kind != "row":
            # The library may have another type by now.
            yield kind if isinstance(kind, str) and "libraryPanel" not in panel else None


def _sources(model: Mapping[str, Any]) -> Iterator[str | None]:
    """Yield the name or uid of each data source, wherever one is named; None where it is open."""
    pending: list[Any] = [model]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending += item
        elif isinstance(item, dict):
            pending += item.values()
            if "datasource" in item:
                yield _source(item["datasource"])


def _source(reference: Any) -> str | None:
    name = reference.get("uid") if isinstance(reference, dict) else (reference or "")
    if not isinstance(name, str) or "$" in name or "[[" in name:
        return None
    return "" if name in DEFAULT else name


def plugins_of(document: bytes) -> Plugins | None:
    """Return what the document of a page says of plugins; None where it does not."""
    settings = _settings(document.decode("utf-8", "replace"))
    panels, sources = settings.get("panels"), settings.get("datasources")
    if not isinstance(panels, dict) or not isinstance(sources, dict):
        return None
    known = {EXPRESSIONS: True}
    for name, source in sources.items():
        if not isinstance(source, dict):
            return None
        is_own = _is_own(source.get("meta"))
        known[name] = is_own
        if isinstance(source.get("uid"), str):
            known[source["uid"]] = is_own
    default = str(settings.get("defaultDatasource"))
    if default in known:
        known[""] = known[default]
    return Plugins(
        panels={kind: _is_own(plugin) for kind, plugin in panels.items()},
        sources=known,
        sanitizes=settings.get("disableSanitizeHtml") is False,
    )


def _is_own(plugin: Any) -> bool:
    if not isinstance(plugin, dict) or plugin.get("signature") != "internal":
        return False
    return BUILT_IN.match(str(plugin.get("module", ""))) is not None


def _settings(text: str) -> Mapping[str, Any]:
    """Read the boot data up to their settings, member by member.

    Searching for the word would find it in a name that somebody chose, too.
    """
    found = BOOT_DATA.search(text)
    place = found.end() if found else len(text)
    decoder = json.JSONDecoder()
    while member := MEMBER.match(text, place):
        try:
            value, place = decoder.raw_decode(text, member.end())
        except (ValueError, RecursionError):
            break
        if member[1] == "settings":
            return value if isinstance(value, dict) else {}
    return {}
