"""The gateway: the worker answers the page's requests with its own client, which holds the token.

Chromium pauses each request (CDP `Fetch`, request stage). Those for Grafana's API and pages are
answered from here; static files of the same origin usually go on to the browser and its cache;
every other host is refused. That lifts the browser's limit of six requests at a time, keeps the
token out of the browser, and lets through nothing that could change something in Grafana.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import httpx

from shared import log

logger = log.get(__name__)

#: One answer of Grafana that is larger than this would have to cross to the browser as base64.
BODY_LIMIT = 64 * 1024 * 1024
#: A query is tried again on these, and on lost connections: the data source has not refused it.
PASSING = {429, 502, 503, 504}
TRIES = 3
RETRY_DELAY = 0.4
RETRY_AFTER_LIMIT = 10.0

ANSWERED = re.compile(r"^/((api|apis|d|d-solo|dashboard|bootdata|avatar|login|goto)(/|$)|$)")

#: POSTs that ask for data; everything else that is not GET or HEAD is refused.
ASKING = re.compile(
    r"^/api/(ds/query|tsdb/query|datasources/proxy/.+"
    r"|datasources/(uid/)?[^/]+/resources/.+|plugins/[^/]+/resources/.+"
    r"|annotations/graphite)$"
    r"|^/apis/query\.grafana\.app/[^/]+/namespaces/[^/]+/query$"
    r"|^/apis/[^/]*datasource\.grafana\.app/[^/]+/namespaces/[^/]+/[^/]+/[^/]+/(query|resource.*)$"
)
#: GETs that change something all the same.
CHANGING = re.compile(r"^/api/snapshots-delete/")
#: Headers of a question that are passed on, besides its type: Grafana's own about panel and query.
#: Not all of `x-…`: some say who asks, to a server that trusts the address they come from.
ABOUT_THE_QUERY = re.compile(r"^x-(dashboard|panel|datasource|plugin|query|cache|loki|ds)-")
#: What counts as a query in the verdict.
QUERY = re.compile(r"^/api/(ds|tsdb)/query$|^/apis/query\.grafana\.app/|/query$")
#: Housekeeping of every page; refusing it is no remark.
CHATTER = re.compile(
    r"^/api/(frontend-metrics|live/|user/|prometheus/grafana|gnet|recording-rules)"
    r"|log-grafana-javascript-agent|/api/search-v2|/api/query-history"
)
DASHBOARD = re.compile(
    r"^/api/dashboards/uid/[^/]+$|^/apis/dashboard\.grafana\.app/.*/dashboards/[^/]+(/dto)?$"
)

#: Headers of an answer that no longer hold once it was read and decoded here.
HOP_BY_HOP = {
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "set-cookie",
}


class Cdp:
    """What the gateway needs of a CDP session, so that tests can stand in for a browser."""

    async def send(self, method: str, params: dict[str, Any]) -> Any:
        """Send one command; raises when the page is gone."""
        raise NotImplementedError


@dataclass(slots=True)
class Record:
    """One request that the gateway answered: milliseconds from pause to answer."""

    method: str
    path: str
    status: int
    milliseconds: int
    size: int
    tries: int = 1
    message: str = ""


@dataclass(slots=True)
class Traffic:
    """What one capture's page asked for."""

    records: list[Record] = field(default_factory=list)
    #: Hosts the page wanted and did not get; writes it tried.
    blocked_hosts: set[str] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)
    in_flight: int = 0
    quiet_since: float = field(default_factory=time.monotonic)

    @property
    def queries(self) -> list[Record]:
        """The requests for data."""
        return [record for record in self.records if QUERY.search(record.path)]

    def dashboard_status(self, uid: str) -> int | None:
        """The status of the page's own request for this dashboard, once it was answered."""
        statuses = [
            record.status
            for record in self.records
            if DASHBOARD.match(record.path)
            and unquote(record.path.removesuffix("/dto")).endswith(f"/{uid}")
        ]
        return statuses[-1] if statuses else None

    def remarks(self) -> list[str]:
        """What the verdict tells of traffic that was not let through."""
        remarks = [f"external content blocked: {host}" for host in sorted(self.blocked_hosts)]
        remarks += [f"refused to change something: {what}" for what in self.refused[:20]]
        return remarks


Prepare = Callable[[Mapping[str, Any]], Mapping[str, Any]]
Pause = Callable[[float], Awaitable[None]]


class Gateway:
    """Answers the requests of one page during one capture."""

    def __init__(
        self,
        *,
        base_url: str,
        client: httpx.AsyncClient,
        cdp: Cdp,
        prepare: Prepare,
        slots: asyncio.Semaphore,
        allowed_hosts: frozenset[str],
        known: Mapping[str, bytes] | None = None,
        keep: bool = False,
        static: bool = False,
        pause: Pause = asyncio.sleep,
    ) -> None:
        """`known` are answers already at hand, by path; `slots` bounds simultaneous requests.

        With `keep`, a question that was answered is answered the same when it is asked again: for
        a page that is opened twice. With `static`, Grafana's static files are answered from here
        too, at the price of the browser's cache: for a browser that cannot reach Grafana as the
        worker can. `pause` waits some seconds before another try.
        """
        self.base: SplitResult = urlsplit(base_url)
        self.prefix = self.base.path.rstrip("/")
        self.client = client
        self.cdp = cdp
        self.prepare = prepare
        self.slots = slots
        self.allowed_hosts = allowed_hosts
        self.known = dict(known or {})
        self.keep = keep
        self.static = static
        self.pause = pause
        self.traffic = Traffic()
        self._kept: dict[tuple[str, str, bytes], tuple[int, dict[str, str], bytes]] = {}
        self._kept_bytes = 0
        self._under_way: set[asyncio.Task[None]] = set()
        self._closed = False

    def paused(self, event: Mapping[str, Any]) -> None:
        """Take a paused request: the handler of `Fetch.requestPaused`."""
        task = asyncio.ensure_future(self._handle(event))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def close(self) -> None:
        """Cancel what is outstanding: an abandoned query would slow the next capture down."""
        self._closed = True
        outstanding = list(self._under_way)
        for task in outstanding:
            task.cancel()
        await asyncio.gather(*outstanding, return_exceptions=True)

    async def _handle(self, event: Mapping[str, Any]) -> None:
        request_id = str(event["requestId"])
        request = event["request"]
        try:
            url = urlsplit(str(request["url"]))
            if self._closed:
                await self._fail(request_id)
            elif url.scheme in ("data", "blob", "about"):
                await self._command("Fetch.continueRequest", requestId=request_id)
            elif not self._is_grafana(url):
                await self._foreign(request_id, url)
            else:
                await self._grafana(request_id, request, url)
        except asyncio.CancelledError:
            raise
        except Exception as exc:  # noqa: BLE001 - whatever it is, the page must not wait for ever
            logger.debug("gateway.unanswered", request=request_id, error=str(exc)[:200])
            await self._fail(request_id)

    def _is_grafana(self, url: SplitResult) -> bool:
        """Whether it is Grafana's exact origin, and below its path: others may share the host.

        An address with a user name in it is not: the client would send that instead of the token.
        """
        below = not self.prefix or url.path == self.prefix or url.path.startswith(self.prefix + "/")
        return below and "@" not in url.netloc and _origin(url) == _origin(self.base)

    async def _foreign(self, request_id: str, url: SplitResult) -> None:
        if url.hostname in self.allowed_hosts and url.scheme in ("http", "https"):
            await self._command("Fetch.continueRequest", requestId=request_id)
            return
        self.traffic.blocked_hosts.add(url.netloc[:200] or url.scheme)
        await self._fail(request_id)

    async def _grafana(self, request_id: str, request: Mapping[str, Any], url: SplitResult) -> None:
        path = url.path.removeprefix(self.prefix) or "/"
        method = str(request["method"]).upper()
        if method in ("GET", "HEAD") and not (self.static or ANSWERED.match(path)):
            await self._command("Fetch.continueRequest", requestId=request_id)
            return
        if not _only_reads(method, path):
            if not CHATTER.search(path):
                self.traffic.refused.append(f"{method} {path}"[:200])
            await self._fulfil(
                request_id, 403, {"content-type": "application/json"},
                b'{"message":"A report only reads: this request was refused."}',
            )  # fmt: skip
            return
        await self._answer(request_id, request, method, path, url)

    async def _answer(
        self,
        request_id: str,
        request: Mapping[str, Any],
        method: str,
        path: str,
        url: SplitResult,
    ) -> None:
        traffic = self.traffic
        traffic.in_flight += 1
        began = time.monotonic()
        record = Record(method, path, 0, 0, 0)
        try:
            if method == "GET" and path in self.known:
                status, headers = 200, {"content-type": "application/json"}
                body = self.known[path]
            else:
                status, headers, body = await self._asked(request, method, path, url, record)
            record.status, record.size = status, len(body)
            if status >= 400:
                record.message = _message(body)
            await self._fulfil(request_id, status, headers, body)
        finally:
            record.milliseconds = round((time.monotonic() - began) * 1000)
            traffic.records.append(record)
            traffic.in_flight -= 1
            traffic.quiet_since = time.monotonic()

    async def _asked(
        self, request: Mapping[str, Any], method: str, path: str, url: SplitResult, record: Record
    ) -> tuple[int, dict[str, str], bytes]:
        """Ask Grafana, or find the answer that it gave to the same question before."""
        question = (method, _without_id(url), _post_data(request) or b"")
        is_data = path.startswith(("/api/", "/apis/"))
        if self.keep and is_data and question in self._kept:
            return self._kept[question]
        status, headers, body = await self._ask(request, method, url, record)
        if status == 200 and DASHBOARD.match(path):
            body = self._prepared(body)
        room = BODY_LIMIT - self._kept_bytes
        if self.keep and is_data and status < 400 and len(body) <= room:
            self._kept[question] = status, headers, body
            self._kept_bytes += len(body)
        return status, headers, body

    async def _ask(
        self, request: Mapping[str, Any], method: str, url: SplitResult, record: Record
    ) -> tuple[int, dict[str, str], bytes]:
        """Ask Grafana, again if it says "not now"; never raises for Grafana's sake."""
        headers = _forwarded(request.get("headers") or {})
        content = _post_data(request)
        for attempt in range(1, TRIES + 1):
            record.tries = attempt
            delay = RETRY_DELAY * attempt
            try:
                async with (
                    self.slots,
                    self.client.stream(
                        method, url.geturl(), headers=headers, content=content
                    ) as answer,
                ):
                    body = await _read(answer)
                if answer.status_code not in PASSING or attempt == TRIES:
                    return answer.status_code, _kept(answer.headers), body
                delay = _retry_after(answer.headers, delay)
            except (httpx.RequestError, _TooLarge) as exc:
                if attempt == TRIES or isinstance(exc, (httpx.TimeoutException, _TooLarge)):
                    sentence = f"Grafana did not answer: {str(exc) or type(exc).__name__}"
                    return (
                        504,
                        {"content-type": "application/json"},
                        json.dumps({"message": sentence}).encode(),
                    )
            await self.pause(delay)
        raise AssertionError  # the last try returns

    def _prepared(self, body: bytes) -> bytes:
        try:
            return json.dumps(self.prepare(json.loads(body))).encode()
        except (ValueError, TypeError, AttributeError):
            # Not the shape we know: the page shall have it as it came.
            return body

    async def _fulfil(
        self, request_id: str, status: int, headers: Mapping[str, str], body: bytes
    ) -> None:
        await self._command(
            "Fetch.fulfillRequest",
            requestId=request_id,
            responseCode=status,
            responseHeaders=[{"name": name, "value": value} for name, value in headers.items()],
            body=base64.b64encode(body).decode("ascii"),
        )

    async def _fail(self, request_id: str) -> None:
        await self._command(
            "Fetch.failRequest", requestId=request_id, errorReason="BlockedByClient"
        )

    async def _command(self, method: str, **params: Any) -> None:
        try:
            await self.cdp.send(method, params)
        except asyncio.CancelledError:
            raise
        except Exception as exc:  # noqa: BLE001 - a session whose page is gone raises this and that
            # "Invalid InterceptionId": the page went on without waiting. Expected.
            logger.debug("gateway.late", command=method, error=str(exc)[:200])


class _TooLarge(Exception):
    """The answer is larger than what can be handed to the browser."""


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    """Scheme, host in small letters, port; browsers leave the usual port out."""
    return url.scheme, url.hostname, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _without_id(url: SplitResult) -> str:
    """The address without the number that newer front-ends give each of their requests."""
    return re.sub(r"([?&])requestId=[^&]*&?", r"\1", url.geturl())


def _only_reads(method: str, path: str) -> bool:
    # A browser resolves "..", so an encoded one is there to lead a server astray.
    if ".." in unquote(path).replace("\\", "/").split("/"):
        return False
    if method in ("GET", "HEAD"):
        return not CHANGING.match(path)
    return method == "POST" and ASKING.match(path) is not None


async def _read(answer: httpx.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in answer.aiter_bytes():
        size += len(part)
        if size > BODY_LIMIT:
            raise _TooLarge(f"the answer is larger than {BODY_LIMIT // 1024 // 1024} MiB")
        parts.append(part)
    return b"".join(parts)


def _forwarded(headers: Mapping[str, str]) -> dict[str, str]:
    """Keep what concerns the question; the page's cookies, origin and credentials stay behind."""
    return {
        name: value
        for name, value in headers.items()
        if name.lower() in ("accept", "content-type") or ABOUT_THE_QUERY.match(name.lower())
    }


def _post_data(request: Mapping[str, Any]) -> bytes | None:
    entries = request.get("postDataEntries")
    if entries:
        return b"".join(base64.b64decode(entry.get("bytes", "")) for entry in entries)
    text = request.get("postData")
    return text.encode() if isinstance(text, str) else None


def _kept(headers: httpx.Headers) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in HOP_BY_HOP}


def _retry_after(headers: httpx.Headers, otherwise: float) -> float:
    try:
        return min(max(0.0, float(headers.get("retry-after", ""))), RETRY_AFTER_LIMIT)
    except ValueError:
        return otherwise


def _message(body: bytes) -> str:
    try:
        value = json.loads(body)
    except ValueError:
        return ""
    return str(value.get("message", ""))[:300] if isinstance(value, dict) else ""
