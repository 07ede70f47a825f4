"""How a question of the page gets to Grafana: asked by the worker, or by the browser with a header.

Each way takes a question and returns the whole answer, or raises `Lost` where asking again may
help and `NoAnswer` where it would not.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import httpx

from shared import traces
from shared.settings import Settings
from shared.spec import LONGEST_RENDER
from workers.capture import passage

#: One answer of Grafana that is larger than this would have to cross to the browser as base64.
BODY_LIMIT = 64 * 1024 * 1024
#: Answers above this are taken one by one, so that twenty of them do not fill the memory.
SMALL = 4 * 1024 * 1024
#: One read of a body out of the browser.
PART = 1024 * 1024
TRIES = 3
#: What a connection can be lost by. Not by waiting for the answer: a query that ran out of time
#: would run out of it again, at the cost of the data source.
LOST = (
    httpx.NetworkError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.WriteTimeout,
    httpx.RemoteProtocolError,
)


class Cdp(Protocol):
    """What is needed of a CDP session, so that tests can stand in for a browser."""

    async def send(self, method: str, params: dict[str, Any]) -> Any:
        """Send one command; raises when the page is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request of the page, with the headers that it came with."""

    request_id: str
    network_id: str
    method: str
    url: str
    headers: Mapping[str, str]
    content: bytes | None
    is_document: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What the page will get."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NoAnswer(Exception):
    """There is no answer, and asking again would not help. The status is for the page."""

    status = 504


class Lost(NoAnswer):
    """The connection was lost before there was an answer; asking again may help."""


class Unusable(NoAnswer):
    """There is an answer, which cannot be handed on."""

    status = 502


class GivenUp(Exception):
    """The page itself does not want the answer any more."""


class Room:
    """Room in memory for the answers of one capture."""

    def __init__(self) -> None:
        self.one_by_one = asyncio.Lock()

    def share(self) -> Share:
        """Return the share of one request, to be freed when its answer was handed over."""
        return Share(self.one_by_one)


class Share:
    """One request's share. Only the one that reads a large answer holds the lock: no knot."""

    def __init__(self, one_by_one: asyncio.Lock) -> None:
        self._lock = one_by_one
        self._alone = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.free()

    def free(self) -> None:
        """Let the next large answer come; safe to call twice."""
        if self._alone:
            self._alone = False
            self._lock.release()

    async def read(self, parts: AsyncIterable[bytes]) -> bytes:
        """Return the whole body. Raises `Unusable` where it is too large.

        Whoever waits here does not read on, so that its answer stays where it comes from.
        """
        taken: list[bytes] = []
        size = 0
        async for part in parts:
            size += len(part)
            if size > BODY_LIMIT:
                raise Unusable(
                    f"Grafana's answer is larger than {BODY_LIMIT // 1024 // 1024} MiB, "
                    "too large for a report: narrow the query or the time range."
                )
            if size > SMALL and not self._alone:
                await self._lock.acquire()
                self._alone = True
            taken.append(part)
        return b"".join(taken)


class Asker(Protocol):
    """One way to Grafana. `tries` says how often the gateway may ask by it."""

    tries: int

    async def ask(self, question: Question, share: Share) -> Answer:
        """Return the answer. Raises `Lost`, `NoAnswer` or `GivenUp`."""

    def static_headers(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return the headers with which the browser fetches a static file itself."""

    def responded(self, event: Mapping[str, Any]) -> bool:
        """Take an answer that the browser paused; False if nobody waits for it."""

    def failed(self, network_id: str) -> None:
        """Hear that a request of the browser ended without an answer."""

    async def close(self) -> None:
        """End what was asked and not answered."""


class ByWorker:
    """Asks with the worker's own client, which alone holds the token."""

    tries = TRIES

    def __init__(self, client: httpx.AsyncClient, *, own: Mapping[str, str]) -> None:
        """`own` are headers that the client adds and no page may replace."""
        self._client = client
        self._own = {name.lower() for name in own}

    async def ask(self, question: Question, share: Share) -> Answer:
        """Ask; the client neither follows redirects nor keeps cookies of the page."""
        try:
            async with self._client.stream(
                question.method,
                question.url,
                headers=passage.forwarded(question.headers, without=self._own) | traces.headers(),
                content=question.content,
            ) as answer:
                body = await share.read(answer.aiter_bytes())
        except LOST as exc:
            raise Lost(_sentence(exc)) from exc
        except httpx.DecodingError as exc:
            raise Unusable(f"Grafana's answer cannot be read: {exc}") from exc
        except (httpx.RequestError, httpx.InvalidURL) as exc:
            raise NoAnswer(_sentence(exc)) from exc
        return Answer(answer.status_code, passage.kept(answer.headers), body)

    def static_headers(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return what a browser sends: nobody is to be asked in another's name."""
        return passage.of_a_browser(headers)

    def responded(self, event: Mapping[str, Any]) -> bool:  # noqa: ARG002 - the browser asks nothing
        """Nobody waits for an answer of the browser's."""
        return False

    def failed(self, network_id: str) -> None:
        """Nothing of the browser's is waited for."""

    async def close(self) -> None:
        """The gateway cancels the calls."""


class ByBrowser:
    """Lets the browser ask, with the token put into the request on its way out.

    The answer is paused, read, and handed to the page like the worker's own, so that its size is
    bounded, its dashboard prepared and its message known here too. Headers added to one request
    do not go along with a redirect, which pauses anew.
    """

    #: A request that was let go cannot be asked again.
    tries = 1

    def __init__(self, cdp: Cdp, *, token: str, own: Mapping[str, str], patience: float) -> None:
        self._cdp = cdp
        self._own = dict(own)
        self._authorization = {"Authorization": f"Bearer {token}"}
        self._patience = patience
        self._waiting: dict[str, tuple[str, asyncio.Future[Mapping[str, Any]]]] = {}

    async def ask(self, question: Question, share: Share) -> Answer:
        """Let the request go, wait until its answer pauses, and read it."""
        paused: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[question.request_id] = (question.network_id, paused)
        own = {**self._own, **self._authorization}
        headers = passage.forwarded(question.headers, without={name.lower() for name in own}) | own
        headers |= traces.headers()
        try:
            await self._cdp.send(
                "Fetch.continueRequest",
                {
                    "requestId": question.request_id,
                    "headers": header_list(headers),
                    "interceptResponse": True,
                },
            )
            event = await asyncio.wait_for(paused, self._patience)
        except TimeoutError as exc:
            raise NoAnswer(f"Grafana did not answer within {self._patience:g} s") from exc
        finally:
            del self._waiting[question.request_id]
        if reason := event.get("responseErrorReason"):
            raise NoAnswer(f"Grafana did not answer: {reason}")
        status = int(event["responseStatusCode"])
        pairs = [(str(one["name"]), str(one["value"])) for one in event.get("responseHeaders", ())]
        body = b""
        # Of a redirect, for one, there is no body to be had.
        if question.method != "HEAD" and status != 204 and not 300 <= status < 400:
            async with aclosing(self._parts(question.request_id)) as parts:
                body = await share.read(parts)
        return Answer(status, passage.kept(httpx.Headers(pairs)), body)

    async def _parts(self, request_id: str) -> AsyncGenerator[bytes, None]:
        opened = await self._cdp.send("Fetch.takeResponseBodyAsStream", {"requestId": request_id})
        handle = opened["stream"]
        try:
            while True:
                part = await self._cdp.send("IO.read", {"handle": handle, "size": PART})
                data = str(part["data"])
                yield base64.b64decode(data) if part.get("base64Encoded") else data.encode()
                if part["eof"]:
                    return
        finally:
            await self._cdp.send("IO.close", {"handle": handle})

    def static_headers(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return what a browser sends, and what the proxy before Grafana wants."""
        return passage.of_a_browser(headers) | self._own

    def responded(self, event: Mapping[str, Any]) -> bool:
        """Take an answer that the browser paused; False if nobody waits for it."""
        _, paused = self._waiting.get(str(event["requestId"]), (None, None))
        if paused is None or paused.done():
            return False
        paused.set_result(event)
        return True

    def failed(self, network_id: str) -> None:
        """Stop waiting for what the page aborted."""
        for waiting_for, paused in self._waiting.values():
            if waiting_for == network_id and not paused.done():
                paused.set_exception(GivenUp())

    async def close(self) -> None:
        """Stop the page: what it asked for would keep data sources busy."""
        await self._cdp.send("Page.stopLoading", {})


def choose(settings: Settings, client: httpx.AsyncClient, cdp: Cdp) -> Asker:
    """Return the way that the settings choose; `client` holds the token."""
    own = dict(settings.grafana_headers)
    if settings.grafana_access == "headers":
        token, patient = settings.grafana_token, patience(settings)
        return ByBrowser(cdp, token=token, own=own, patience=patient)
    return ByWorker(client, own=own)


def patience(settings: Settings) -> float:
    """Return how long one answer may take: a little longer than anybody waits for the panels."""
    return max(settings.render_timeout, LONGEST_RENDER) + 5


def header_list(headers: Mapping[str, str]) -> list[dict[str, str]]:
    """Return headers as CDP wants them."""
    return [{"name": name, "value": value} for name, value in headers.items()]


def _sentence(exc: httpx.RequestError | httpx.InvalidURL) -> str:
    return f"Grafana did not answer: {str(exc) or type(exc).__name__}"
