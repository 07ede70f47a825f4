"""The gateway: the worker answers the page's requests with its own client, which holds the token.

Chromium pauses each request (CDP `Fetch`, request stage). Those for Grafana's API and pages are
answered from here; static files of the same origin usually go on to the browser and its cache;
every other host is refused. That lifts the browser's limit of six requests at a time, keeps the
token out of the browser, and lets through nothing that could change something in Grafana.

As a fallback, by setting, the browser asks itself (`asker.ByBrowser`); all else is the same.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    nullcontext,
)
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit

from shared import log, traces
from shared.grafana import asking
from shared.traces import Span
from workers.capture import passage
from workers.capture.asker import (
    BODY_LIMIT,
    Answer,
    Asker,
    Cdp,
    GivenUp,
    Lost,
    NoAnswer,
    Question,
    Room,
    Share,
    header_list,
)
from workers.capture.prepare import DashboardTooLarge
from workers.capture.traffic import Record, Traffic, message_of

logger = log.get(__name__)

#: A query is tried again on these, and on lost connections: the data source has not refused it.
PASSING = {429, 502, 503, 504}
RETRY_DELAY = 0.4
#: Whoever wants more patience is asked after this all the same: a page is waiting.
RETRY_AFTER_LIMIT = 10.0
JSON = {"content-type": "application/json"}

Prepare = Callable[[Mapping[str, Any]], Mapping[str, Any]]
Pause = Callable[[float], Awaitable[None]]
Place = Callable[[], AbstractAsyncContextManager[None]]


class Gateway:
    """Answers the requests of one page during one capture."""

    def __init__(
        self,
        *,
        base_url: str,
        asker: Asker,
        cdp: Cdp,
        prepare: Prepare,
        concurrency: int,
        allowed_hosts: frozenset[str],
        place: Place = nullcontext,
        known: Mapping[str, Answer] | None = None,
        keep: bool = False,
        static: bool = False,
        pause: Pause = asyncio.sleep,
    ) -> None:
        """`known` are answers already at hand, by path.

        `concurrency` bounds the queries under way at once, and apart from them the other
        requests; a query has besides a `place`, if need be after waiting for it. With `keep`, a
        question that was answered is answered the same when it is asked again: for a page that is
        opened twice. With `static`, Grafana's static files are answered from here too, at the
        price of the browser's cache: for a browser that cannot reach Grafana as the worker can.
        `pause` waits some seconds before another try.
        """
        self.base: SplitResult = urlsplit(base_url)
        self.prefix = self.base.path.rstrip("/")
        self.asker = asker
        self.cdp = cdp
        self.prepare = prepare
        self.allowed_hosts = allowed_hosts
        self.place = place
        self.known = dict(known or {})
        self.keep = keep
        self.static = static
        self.pause = pause
        self.traffic = Traffic()
        #: The page as Grafana answered it last, and the dashboards that the page was given.
        self.document = b""
        self.handed: list[bytes] = []
        self._queries = asyncio.Semaphore(concurrency)
        # A line of their own, or queries that wait would keep the page from starting at all.
        self._others = asyncio.Semaphore(concurrency)
        self._room = Room()
        self._kept: dict[tuple[str, str, bytes], Answer] = {}
        self._kept_bytes = 0
        self._under_way: set[asyncio.Task[None]] = set()
        self._closed = False
        # Requests are heard of by a task that is as old as the browser.
        self._within = traces.current()

    def paused(self, event: Mapping[str, Any]) -> None:
        """Take a paused request, or its answer: the handler of `Fetch.requestPaused`."""
        if "responseStatusCode" not in event and "responseErrorReason" not in event:
            self.traffic.documents += event.get("resourceType") == "Document"
            self._start(self._handle(event))
        elif self._closed or not self.asker.responded(event):
            self._start(self._fail(str(event["requestId"])))

    def failed(self, event: Mapping[str, Any]) -> None:
        """Hear that the page gave a request up: the handler of `Network.loadingFailed`."""
        self.asker.failed(str(event["requestId"]))

    async def close(self) -> None:
        """Answer nothing any more: an abandoned query would slow the next capture down."""
        self._closed = True
        await self.drop()

    async def drop(self) -> None:
        """Cancel what is outstanding; what is asked from now on is answered as before."""
        outstanding = list(self._under_way)
        for task in outstanding:
            task.cancel()
        await asyncio.gather(*outstanding, return_exceptions=True)
        if outstanding:
            try:
                await self.asker.close()
            except Exception as exc:  # noqa: BLE001 - a session whose page is gone raises this and that
                logger.debug("gateway.late", command="close", error=str(exc)[:200])

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

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
                await self._grafana(event, request, url)
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
        return below and "@" not in url.netloc and origin(url) == origin(self.base)

    async def _foreign(self, request_id: str, url: SplitResult) -> None:
        if url.hostname in self.allowed_hosts and url.scheme in ("http", "https"):
            self.traffic.reached_hosts = True
            await self._command("Fetch.continueRequest", requestId=request_id)
            return
        self.traffic.blocked(url.netloc or url.scheme)
        await self._fail(request_id)

    async def _grafana(
        self, event: Mapping[str, Any], request: Mapping[str, Any], url: SplitResult
    ) -> None:
        request_id = str(event["requestId"])
        path = url.path.removeprefix(self.prefix) or "/"
        method = str(request["method"]).upper()
        headers = request.get("headers") or {}
        if passage.PLUGIN.match(path):
            self.traffic.foreign_code = True
        if method in ("GET", "HEAD") and not (self.static or passage.ANSWERED.match(path)):
            await self._let_go(request_id, headers)
            return
        if not passage.only_reads(method, path):
            if not passage.CHATTER.search(path):
                self.traffic.forbidden(f"{method} {path}")
            await self._fulfil(
                request_id,
                _told(403, "A report only reads: this request was refused."),
            )
            return
        question = Question(
            request_id=request_id,
            network_id=str(event.get("networkId", "")),
            method=method,
            url=url.geturl(),
            headers=headers,
            content=_post_data(request),
            is_document=event.get("resourceType") == "Document",
        )
        await self._answer(question, path)

    async def _let_go(self, request_id: str, headers: Mapping[str, str]) -> None:
        """Let the browser fetch a static file, from its cache if it has it there."""
        wanted = self.asker.static_headers(headers)
        if wanted == headers:
            await self._command("Fetch.continueRequest", requestId=request_id)
        else:
            await self._command(
                "Fetch.continueRequest", requestId=request_id, headers=header_list(wanted)
            )

    async def _answer(self, question: Question, path: str) -> None:
        traffic = self.traffic
        kept = self._kept.get(_asked(question))
        if kept:
            traffic.quiet_since = time.monotonic()
            await self._fulfil(question.request_id, kept)
            return
        record = Record(question.method, path, panel=_panel(question.headers))
        traffic.records.append(record)
        traffic.in_flight += 1
        try:
            with self._room.share() as share:
                if question.method == "GET" and path in self.known:
                    answer = self.known[path]
                else:
                    answer = await self._ask(question, record, share)
                    if answer.status == 200 and passage.DASHBOARD.match(path):
                        answer = Answer(200, answer.headers, self._prepared(answer.body))
                record.status, record.size = answer.status, len(answer.body)
                record.message = message_of(answer.status, answer.body)
                self._keep(question, path, answer)
                self._note(question, path, answer)
                await self._fulfil(question.request_id, answer)
        except GivenUp:
            traffic.records.remove(record)
        finally:
            record.close()
            traffic.in_flight -= 1
            traffic.quiet_since = time.monotonic()

    def _keep(self, question: Question, path: str, answer: Answer) -> None:
        """Keep what a page that is opened again will ask for again, if it is no error."""
        is_data = path.startswith(("/api/", "/apis/"))
        room = BODY_LIMIT - self._kept_bytes
        if self.keep and is_data and answer.status < 400 and len(answer.body) <= room:
            self._kept[_asked(question)] = answer
            self._kept_bytes += len(answer.body)

    def _note(self, question: Question, path: str, answer: Answer) -> None:
        """Remember what tells which code the page runs: see `reuse`."""
        if answer.status != 200:
            return
        if question.is_document:
            self.document = answer.body
        elif passage.DASHBOARD.match(path):
            self.handed.append(answer.body)

    async def _ask(self, question: Question, record: Record, share: Share) -> Answer:
        """Ask Grafana, again if it says "not now"; never raises for Grafana's sake.

        Every question only reads, so that asking twice does no harm, whatever became of the
        first time.
        """
        while True:
            record.tries += 1
            delay = RETRY_DELAY * record.tries
            try:
                async with self._turn(record):
                    with self._span(record) as span:
                        answer = await self.asker.ask(question, share)
                        span.answered(answer.status)
                if answer.status not in PASSING or record.tries >= self.asker.tries:
                    return answer
                delay = _retry_after(answer.headers, delay)
            except Lost as exc:
                if record.tries >= self.asker.tries:
                    return _told(exc.status, str(exc))
            except NoAnswer as exc:
                return _told(exc.status, str(exc))
            share.free()
            await self.pause(delay)

    def _span(self, record: Record) -> AbstractContextManager[Span]:
        """Make a span of one try; the time in line before it is no part of it."""
        return asking(
            self.base.geturl(),
            record.method,
            record.path,
            within=self._within,
            panel=record.panel or None,
            resend=record.tries - 1 or None,
            waited=record.waited,
        )

    @asynccontextmanager
    async def _turn(self, record: Record) -> AsyncIterator[None]:
        """Wait until one more may be under way; for a query, also in the whole pool of workers.

        The capture's own line comes first: what stands in it takes no place from others.
        """
        began = time.monotonic()
        if not passage.QUERY.search(record.path):
            async with self._others:
                yield
            return
        async with self._queries, self.place():
            record.waited += round((time.monotonic() - began) * 1000)
            yield

    def _prepared(self, body: bytes) -> bytes:
        try:
            return json.dumps(self.prepare(json.loads(body))).encode()
        except (ValueError, TypeError, AttributeError, RecursionError, DashboardTooLarge):
            # Not the shape we know: the page shall have it as it came.
            return body

    async def _fulfil(self, request_id: str, answer: Answer) -> None:
        await self._command(
            "Fetch.fulfillRequest",
            requestId=request_id,
            responseCode=answer.status,
            responseHeaders=header_list(answer.headers),
            body=base64.b64encode(answer.body).decode("ascii"),
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


def origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    """Scheme, host in small letters, port; browsers leave the usual port out."""
    return url.scheme, url.hostname, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _asked(question: Question) -> tuple[str, str, bytes]:
    """What makes two questions the same: not the number that newer front-ends give to each."""
    url = re.sub(r"([?&])requestId=[^&]*&?", r"\1", question.url)
    return question.method, url, question.content or b""


def _told(status: int, message: str) -> Answer:
    """Return an answer of our own, in Grafana's shape."""
    return Answer(status, JSON, json.dumps({"message": message}).encode())


def _panel(headers: Mapping[str, str]) -> str:
    named = {name.lower(): value for name, value in headers.items()}
    return str(named.get("x-panel-id", ""))


def _post_data(request: Mapping[str, Any]) -> bytes | None:
    entries = request.get("postDataEntries")
    if entries:
        return b"".join(base64.b64decode(entry.get("bytes", "")) for entry in entries)
    text = request.get("postData")
    return text.encode() if isinstance(text, str) else None


def _retry_after(headers: Mapping[str, str], otherwise: float) -> float:
    """Return the seconds that the answer asks for, as a number or as a date, within bounds."""
    named = {name.lower(): value for name, value in headers.items()}
    wanted = named.get("retry-after", "")
    try:
        seconds = float(wanted)
    except ValueError:
        try:
            # Against the answer's own date: the clocks of two machines need not agree.
            date, now = (parsedate_to_datetime(text) for text in (wanted, named.get("date", "")))
            seconds = (date - now).total_seconds()
        except (ValueError, TypeError):
            return otherwise
    return min(max(0.0, seconds), RETRY_AFTER_LIMIT)
