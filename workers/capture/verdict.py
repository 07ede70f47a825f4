"""The verdict: what a capture knows of each panel, decided from what page and gateway saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

OK, NO_DATA, ERROR, MISSING_PLUGIN, TIMED_OUT = (
    "ok",
    "no data",
    "error",
    "missing plugin",
    "timed out",
)
STATES = (OK, NO_DATA, ERROR, MISSING_PLUGIN, TIMED_OUT)
#: A panel without rows is an answer; these are not.
AMISS = (ERROR, MISSING_PLUGIN, TIMED_OUT)

#: What a page may make us keep of one message, of how many panels, and of how many queries.
MESSAGE_LIMIT = 500
PANEL_LIMIT = 5000
QUERY_LIMIT = 500
PANEL_ID_LIMIT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel: `milliseconds` is when it was seen ready, counted from the navigation."""

    key: str
    title: str
    type: str
    state: str
    message: str = ""
    milliseconds: int | None = None
    description: str = ""

    @property
    def amiss(self) -> str:
        """What is wrong with it, in one line; "" if nothing is."""
        if self.state not in AMISS:
            return ""
        return self.state + (f" ({self.message})" if self.message else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One request of the page that reached a data source.

    `panel` is the id that the front-end asked for it with, "" where none did, as for a variable.
    `status` is 0 if there was no answer yet; `size` is in bytes. `milliseconds` count from when
    the page asked, `waited` are those of them before its turn came. `message` says what failed.
    """

    path: str
    panel: str = ""
    status: int
    size: int
    milliseconds: int
    waited: int = 0
    tries: int = 1
    message: str = ""

    @property
    def failed(self) -> bool:
        """Whether it has no answer, or one that says that something went wrong."""
        return self.status == 0 or self.status >= 400 or bool(self.message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All panels of a capture, and what concerns the page as a whole."""

    panels: tuple[Panel, ...]
    #: "external content blocked: tiles.example.com", "refused to change something: …"
    remarks: tuple[str, ...] = ()
    #: All of them if they are not very many, else those that failed and the slowest.
    queries: tuple[Query, ...] = ()
    query_count: int = 0
    failed_count: int = 0

    @property
    def complete(self) -> bool:
        """Whether every panel shows what it should."""
        return not any(panel.state in AMISS for panel in self.panels)

    @property
    def notes(self) -> tuple[str, ...]:
        """One line for each panel that is amiss, for mail and command line."""
        return tuple(
            f"{panel.title or panel.key}: {panel.amiss}" for panel in self.panels if panel.amiss
        )

    @property
    def amiss(self) -> tuple[str, ...]:
        """The same in short, for where there is one line for all of them."""
        return tuple(
            f"{panel.title or panel.key}: {panel.state}" for panel in self.panels if panel.amiss
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, with the summary that lists show.

        `{"panels": […], "remarks": […], "queries": [{"path", "panel", "status", "size",
        "milliseconds", "waited", "tries", "message"}, …], "query_count": 28, "failed_count": 1,
        "complete": true, "counts": {"ok": 27, "no data": 1, …}}`; `queries` may be fewer than
        `query_count`.
        """
        counts = {state: sum(panel.state == state for panel in self.panels) for state in STATES}
        return {**asdict(self), "complete": self.complete, "counts": counts}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`, also for verdicts written when queries were only counted."""
        queries = value["queries"]
        if isinstance(queries, int):
            counts = {"query_count": queries, "failed_count": value["failed_queries"]}
            queries = ()
        else:
            counts = {name: value[name] for name in ("query_count", "failed_count")}
        return cls(
            panels=tuple(Panel(**panel) for panel in value["panels"]),
            remarks=tuple(value["remarks"]),
            queries=tuple(Query(**query) for query in queries),
            **counts,
        )


def judge(
    seen: Sequence[Mapping[str, Any]],
    ready_at: Mapping[str, int],
    *,
    remarks: Sequence[str] = (),
    queries: Sequence[Query] = (),
) -> Verdict:
    """Turn the page's last word on its panels, and its queries, into a verdict.

    `seen` comes from a page that may be hostile, so nothing in it is trusted to have its type.
    """
    panels = []
    for item in list(seen)[:PANEL_LIMIT]:
        key = one_line(item.get("key"))
        state = item.get("state")
        panels.append(
            Panel(
                key=key,
                title=one_line(item.get("title")),
                type=one_line(item.get("type")),
                state=str(state) if state in STATES else TIMED_OUT,
                message=one_line(item.get("message")),
                milliseconds=ready_at.get(key),
                description=one_line(item.get("description")),
            )
        )
    return Verdict(
        panels=tuple(panels),
        remarks=tuple(remarks),
        queries=tuple(
            replace(
                query,
                path=one_line(query.path),
                panel=one_line(query.panel)[:PANEL_ID_LIMIT],
                message=one_line(query.message),
            )
            for query in _telling(queries)
        ),
        query_count=len(queries),
        failed_count=sum(query.failed for query in queries),
    )


def _telling(queries: Sequence[Query]) -> Sequence[Query]:
    """Return all queries in their order, or of very many those that tell most."""
    if len(queries) <= QUERY_LIMIT:
        return queries
    telling = sorted(queries, key=lambda query: (not query.failed, -query.milliseconds))
    return telling[:QUERY_LIMIT]


def one_line(value: object) -> str:
    """Return the text of a page or a server as one line of bounded length; "" for no text."""
    text = value if isinstance(value, str) else ""
    return " ".join("".join(c for c in text if c.isprintable() or c.isspace()).split())[
        :MESSAGE_LIMIT
    ]
