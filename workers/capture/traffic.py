"""What one capture's page asked for, and what became of it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from workers.capture.passage import DASHBOARD, QUERY
from workers.capture.verdict import Query

#: What a page may make us keep of hosts and refusals; a mail names this many of each.
REMARK_LIMIT = 20
MESSAGE_LIMIT = 300
#: A larger answer is not searched for messages: that would hold up everything else here.
SEARCH_LIMIT = 4 * 1024 * 1024
NO_ANSWER = "no answer when the capture ended"


@dataclass(slots=True)
class Record:
    """One request that the gateway took on: milliseconds from pause to answer.

    `status` is 0 until there is an answer, and stays so where none comes.
    """

    method: str
    path: str
    status: int = 0
    milliseconds: int = 0
    size: int = 0
    tries: int = 0
    message: str = ""
    #: As the front-end calls it in a header; "" where no panel asks.
    panel: str = ""
    #: Of the milliseconds, those spent waiting for a place among the queries under way.
    waited: int = 0
    began: float = field(default_factory=time.monotonic)

    def close(self) -> None:
        """Note how long it took."""
        self.milliseconds = round((time.monotonic() - self.began) * 1000)


@dataclass(slots=True)
class Traffic:
    """What one capture's page asked for."""

    records: list[Record] = field(default_factory=list)
    #: Hosts the page wanted and did not get; writes it tried.
    blocked_hosts: set[str] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)
    #: Documents asked for: of the page itself, and of frames in it.
    documents: int = 0
    #: Hosts that are allowed, and code of plugins that are not built into Grafana.
    reached_hosts: bool = False
    foreign_code: bool = False
    in_flight: int = 0
    quiet_since: float = field(default_factory=time.monotonic)

    @property
    def queries(self) -> list[Record]:
        """The requests for data."""
        return [record for record in self.records if QUERY.search(record.path)]

    def told(self) -> list[Query]:
        """Return the queries as the verdict keeps them, also those without an answer so far."""
        now = time.monotonic()
        return [
            Query(
                path=record.path,
                panel=record.panel,
                status=record.status,
                size=record.size,
                milliseconds=record.milliseconds
                if record.status
                else round((now - record.began) * 1000),
                waited=record.waited,
                tries=record.tries,
                message=record.message if record.status else NO_ANSWER,
            )
            for record in self.queries
        ]

    def dashboard_status(self, uid: str) -> int | None:
        """The status of the page's own request for this dashboard, once it was answered."""
        statuses = [
            record.status
            for record in self.records
            if record.status
            and DASHBOARD.match(record.path)
            and unquote(record.path.removesuffix("/dto")).endswith(f"/{uid}")
        ]
        return statuses[-1] if statuses else None

    def loads(self, home: str) -> int:
        """How often a page at or below this path was loaded: more often if it does so itself."""
        return sum(f"{unquote(record.path)}/".startswith(home + "/") for record in self.records)

    def is_plain(self, loads: int) -> bool:
        """Whether the page asked for nothing but what Grafana's own front-end asks for.

        It was loaded `loads` times by us; nothing may be outstanding.
        """
        strange = self.blocked_hosts or self.refused or self.reached_hosts or self.foreign_code
        return not strange and self.documents == loads and self.in_flight == 0

    def blocked(self, host: str) -> None:
        """Note a host that the page did not get to."""
        if len(self.blocked_hosts) < REMARK_LIMIT:
            self.blocked_hosts.add(host[:200])

    def forbidden(self, what: str) -> None:
        """Note something the page wanted to change."""
        if len(self.refused) < REMARK_LIMIT:
            self.refused.append(what[:200])

    def remarks(self) -> list[str]:
        """What the verdict tells of traffic that was not let through."""
        remarks = [f"external content blocked: {host}" for host in sorted(self.blocked_hosts)]
        remarks += [f"refused to change something: {what}" for what in self.refused]
        return remarks


def message_of(status: int, body: bytes) -> str:
    """Return what an answer says went wrong, "" if nothing did or it does not say.

    Newer Grafanas answer per query what failed, also beside others that did not (status 207).
    """
    if (status < 400 and status != 207) or len(body) > SEARCH_LIMIT:
        return ""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(value, dict):
        return ""
    return (_of_results(value.get("results")) or _text(value.get("message")))[:MESSAGE_LIMIT]


def _of_results(results: Any) -> str:
    """`A: parse error; B: …` of `{"A": {"error": "parse error"}, …}`."""
    if not isinstance(results, dict):
        return ""
    errors = [
        f"{ref}: {text}"
        for ref, result in results.items()
        if isinstance(result, dict) and (text := _text(result.get("error")))
    ]
    return "; ".join(errors)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
