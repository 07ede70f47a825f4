"""What the stand-in remembers of the requests it got, and the faults a test asks it to play."""

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

HEADERS_OF_INTEREST = (
    "authorization",
    "cookie",
    "user-agent",
    "origin",
    "referer",
    "x-dashboard-uid",
    "x-panel-id",
    "x-grafana-org-id",
    "x-proxy-key",
    "x-webauth-user",
    "upgrade",
)
QUERY_PATH = "/api/ds/query"
READS_BY_POST = (QUERY_PATH, "/login")


@dataclass
class Request:
    """One request as it arrived.

    `status` and `ended` stay None while it is being answered, `status` also when it was dropped.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    started: float
    body: bytes = b""
    ended: float | None = None
    status: int | None = None

    @property
    def is_write(self) -> bool:
        """True for what a read-only gateway must never let through."""
        return self.method not in ("GET", "HEAD", "OPTIONS") and self.path not in READS_BY_POST


class Requests:
    """Thread-safe, growing list of requests.

    Paths stand without the sub-path, so tests read the same either way.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: list[Request] = []
        self._queries_now = 0
        self.peak_queries = 0

    def begin(self, request: Request) -> None:
        """Record a request that has just arrived."""
        with self._lock:
            self._seen.append(request)
            if request.path == QUERY_PATH:
                self._queries_now += 1
                self.peak_queries = max(self.peak_queries, self._queries_now)

    def finish(self, request: Request) -> None:
        """Note that a request is over, answered or not."""
        with self._lock:
            request.ended = time.monotonic()
            if request.path == QUERY_PATH:
                self._queries_now -= 1

    def clear(self) -> None:
        """Forget what was seen, also the peak; requests in flight stay counted."""
        with self._lock:
            self._seen.clear()
            self.peak_queries = self._queries_now

    @property
    def queries_now(self) -> int:
        """Data queries being answered at this moment."""
        with self._lock:
            return self._queries_now

    def all(self) -> list[Request]:
        """Every request so far, in the order of arrival."""
        with self._lock:
            return list(self._seen)

    def to(self, part: str, method: str | None = None) -> list[Request]:
        """Those whose path contains `part`."""
        return [seen for seen in self.all() if part in seen.path and method in (None, seen.method)]

    @property
    def writes(self) -> list[Request]:
        """Requests that would change something in Grafana."""
        return [seen for seen in self.all() if seen.is_write]

    def __iter__(self) -> Iterator[Request]:
        return iter(self.all())

    def __len__(self) -> int:
        return len(self.all())


@dataclass
class Fault:
    """What to play for the next `times` requests whose path contains `path`."""

    path: str
    times: int = 1
    method: str | None = None
    status: int | None = None
    body: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drop: bool = False


class Faults:
    """The queue of faults.

    First in, first played; a fault with a delay only lets the request go on afterwards.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Fault] = []

    def answer(
        self,
        path: str,
        status: int,
        *,
        times: int = 1,
        body: dict[str, Any] | None = None,
        **headers: str,
    ) -> None:
        """Answer with a status; `retry_after="1"` and the like become headers."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.add(Fault(path, times, status=status, body=body, headers=named))

    def delay(self, path: str, seconds: float, *, times: int = 1) -> None:
        """Hold the request for some seconds, then answer as usual."""
        self.add(Fault(path, times, delay=seconds))

    def drop(self, path: str, *, times: int = 1) -> None:
        """Close the connection without an answer."""
        self.add(Fault(path, times, drop=True))

    def redirect(self, path: str, target: str, *, times: int = 1) -> None:
        """Send the caller elsewhere, also to another origin."""
        self.add(Fault(path, times, status=302, headers={"Location": target}))

    def add(self, fault: Fault) -> None:
        """Queue any fault."""
        with self._lock:
            self._waiting.append(fault)

    def clear(self) -> None:
        """Forget the faults not played yet."""
        with self._lock:
            self._waiting.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """The next fault for a request, used up by one; None for none."""
        with self._lock:
            for fault in self._waiting:
                if fault.path in path and fault.method in (None, method):
                    fault.times -= 1
                    if fault.times <= 0:
                        self._waiting.remove(fault)
                    return fault
        return None
