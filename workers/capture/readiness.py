"""Readiness: decided per panel, positively, from what the page says and the gateway knows. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workers.capture.verdict import ERROR, OK, STATES, TIMED_OUT

#: A page whose requests have all been answered for this long starts nothing by itself any more.
QUIET = 1.5
#: The same for a page that can only be judged by what it draws.
QUIET_DOM = 0.5
#: A panel that says it is loading although nothing has been under way for this long never will.
QUIET_LOADING = 10.0


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the page: `state` is what `state.js` returned, times are in seconds."""

    state: Mapping[str, Any]
    in_flight: int
    quiet: float
    #: How many panels the dashboard's model has at least; None where that is not known.
    expected: int | None
    #: Titles of charts that drew nothing although their data had come.
    blank: tuple[str, ...] = ()

    @property
    def panels(self) -> Sequence[Mapping[str, Any]]:
        """The panels as the page told of them; whatever is no object is dropped."""
        found = self.state.get("panels")
        listed = found if isinstance(found, list) else []
        return [panel for panel in listed if isinstance(panel, dict)]

    @property
    def idle(self) -> bool:
        """Whether nothing is asked for and nothing looks busy."""
        return self.in_flight == 0 and not self.state.get("busy")


def ready(look: Look) -> bool:
    """Say whether the page is through; panels that can never be ready count as done."""
    front_end = look.state.get("frontEnd")
    if front_end == "dom":
        return bool(look.state.get("ready")) and look.idle and look.quiet >= QUIET_DOM
    if front_end not in ("scenes", "legacy") or not look.state.get("ready"):
        return False
    if not look.panels:
        # Nothing on the dashboard, or nothing yet: an empty repeat is told by the quiet.
        return look.idle and (look.expected == 0 or look.quiet >= QUIET)
    return not any(_waiting(panel, look) for panel in look.panels)


def empty(look: Look) -> bool:
    """Whether no panel is there, and nothing comes any more by itself."""
    return not look.panels and look.idle and look.quiet >= QUIET


def _waiting(panel: Mapping[str, Any], look: Look) -> bool:
    state = panel.get("state")
    if state in STATES:
        return False
    patience = QUIET if state == "not started" else QUIET_LOADING
    return not (look.idle and look.quiet >= patience)


def settled(look: Look, *, in_time: bool) -> list[dict[str, Any]]:
    """Return the panels with a final state each.

    A panel that never started although nothing was under way is an error, and the page's alert
    tells why: its data source or variable is missing. What was still loading has timed out.
    """
    alert = str(look.state.get("alert") or "")
    result = []
    for panel in look.panels:
        entry = dict(panel)
        if entry.get("state") not in STATES:
            never = in_time or (look.idle and look.quiet >= QUIET)
            if entry.get("state") == "not started" and never:
                entry |= {"state": ERROR, "message": alert or "the panel never asked for data"}
            else:
                entry |= {"state": TIMED_OUT, "message": "still loading at the deadline"}
        elif entry.get("state") == OK:
            entry["message"] = ""
        result.append(entry)
    return result
