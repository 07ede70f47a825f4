"""A question asked by the browser carries the token to Grafana only; large answers wait in line."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from workers.capture import asker
from workers.capture.asker import Answer, ByBrowser, GivenUp, NoAnswer, Question, Room, Unusable

GRAFANA = "http://grafana.example:3000"


class FakeBrowser:
    """Answers CDP commands; `answer` pauses what was let go once more, as Chromium does."""

    def __init__(self, *parts: bytes) -> None:
        self.commands: list[tuple[str, dict[str, Any]]] = []
        self.parts = list(parts)
        self.sent = asyncio.Event()

    async def send(self, method: str, params: dict[str, Any]) -> Any:
        self.commands.append((method, params))
        self.sent.set()
        if method == "Fetch.takeResponseBodyAsStream":
            return {"stream": "1"}
        if method == "IO.read":
            part = self.parts.pop(0) if self.parts else b""
            return {
                "data": base64.b64encode(part).decode(),
                "base64Encoded": True,
                "eof": not self.parts,
            }
        return {}

    @property
    def methods(self) -> list[str]:
        return [method for method, _ in self.commands]


def question(method: str = "POST", **headers: str) -> Question:
    return Question(
        request_id="job-1.0",
        network_id="7.1",
        method=method,
        url=f"{GRAFANA}/api/ds/query",
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        content=b"{}",
    )


def response(status: int = 200, **more: Any) -> dict[str, Any]:
    headers = [
        {"name": "Content-Type", "value": "application/json"},
        {"name": "Content-Encoding", "value": "gzip"},
        {"name": "Vary", "value": "Origin"},
        {"name": "Vary", "value": "Accept"},
    ]
    about = {"requestId": "job-1.0", "responseStatusCode": status, "responseHeaders": headers}
    return about | more


def ask(
    browser: FakeBrowser, asked: Question, answer: Mapping[str, Any] | None, **own: str
) -> Answer:
    """Ask through the browser, and pause the answer once the request was let go."""

    async def run() -> Answer:
        browser.sent = asyncio.Event()
        way = ByBrowser(browser, token="glsa_secret", own=own, patience=5 if answer else 0)
        with Room().share() as share:
            task = asyncio.ensure_future(way.ask(asked, share))
            await browser.sent.wait()
            if answer:
                assert way.responded(answer)
            result = await task
        assert not way.responded(answer or response())  # nobody waits any more
        return result

    return asyncio.run(run())


def test_the_browser_asks_with_token_and_own_headers_and_its_answer_is_read() -> None:
    browser = FakeBrowser(b'{"resu', b'lts":{}}')
    sent = question(X_Panel_Id="7", Cookie="a=b", X_WEBAUTH_USER="admin", Authorization="Basic x")
    answer = ask(browser, sent, response(207), **{"X-Key": "k"})
    assert (answer.status, answer.body) == (207, b'{"results":{}}')
    assert answer.headers == {"content-type": "application/json", "vary": "Origin, Accept"}
    method, params = browser.commands[0]
    assert (method, params["interceptResponse"]) == ("Fetch.continueRequest", True)
    assert {one["name"]: one["value"] for one in params["headers"]} == {
        "X-Panel-Id": "7",
        "X-Key": "k",
        "Authorization": "Bearer glsa_secret",
    }
    assert browser.methods[-1] == "IO.close"


@pytest.mark.parametrize(
    ("method", "status"), [("GET", 302), ("GET", 307), ("HEAD", 200), ("GET", 204)]
)
def test_of_an_answer_that_has_no_body_none_is_read(method: str, status: int) -> None:
    browser = FakeBrowser()
    assert ask(browser, question(method), response(status)).body == b""
    assert browser.methods == ["Fetch.continueRequest"]


def test_a_connection_that_the_browser_lost_is_named() -> None:
    lost = {"requestId": "job-1.0", "responseErrorReason": "ConnectionRefused"}
    with pytest.raises(NoAnswer, match="Grafana did not answer: ConnectionRefused"):
        ask(FakeBrowser(), question(), lost)


def test_a_browser_that_brings_no_answer_is_not_waited_for_for_ever() -> None:
    with pytest.raises(NoAnswer, match="Grafana did not answer within 0 s"):
        ask(FakeBrowser(), question(), None)


def test_an_answer_beyond_the_limit_is_left_in_the_browser(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asker, "BODY_LIMIT", 1024 * 1024)
    browser = FakeBrowser(*[b"x" * 600_000] * 5)
    with pytest.raises(Unusable, match=r"larger than 1 MiB"):
        ask(browser, question(), response())
    assert browser.methods.count("IO.read") == 2
    assert browser.methods[-1] == "IO.close"


def test_what_the_page_gives_up_is_not_waited_for() -> None:
    async def run() -> None:
        browser = FakeBrowser()
        way = ByBrowser(browser, token="t", own={}, patience=5)
        with Room().share() as share:
            task = asyncio.ensure_future(way.ask(question(), share))
            await browser.sent.wait()
            way.failed("another")
            way.failed("7.1")
            await task

    with pytest.raises(GivenUp):
        asyncio.run(run())


def test_a_static_file_is_fetched_with_the_own_headers_and_without_the_token() -> None:
    way = ByBrowser(FakeBrowser(), token="t", own={"X-Key": "k"}, patience=5)
    headers = way.static_headers({"Accept": "*/*", "Sec-Ch-Ua": "x", "X-WEBAUTH-USER": "admin"})
    assert headers == {"Accept": "*/*", "Sec-Ch-Ua": "x", "X-Key": "k"}


# Room for answers


def test_large_answers_come_one_by_one_and_small_ones_pass_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asker, "SMALL", 10)

    async def run() -> None:
        room = Room()
        pulled: list[str] = []

        became_large = asyncio.Event()

        async def body(name: str, size: int) -> AsyncIterator[bytes]:
            for _ in range(size // 10):
                pulled.append(name)
                if pulled.count("second") == 2:
                    became_large.set()
                yield b"0123456789"

        first, second, small = room.share(), room.share(), room.share()
        assert len(await first.read(body("first", 30))) == 30
        waiting = asyncio.ensure_future(second.read(body("second", 30)))
        await became_large.wait()
        assert len(await small.read(body("small", 10))) == 10
        assert not waiting.done()
        assert pulled.count("second") == 2  # and no more than that
        first.free()
        first.free()
        assert len(await waiting) == 30
        second.free()
        assert not room.one_by_one.locked()

    asyncio.run(run())
