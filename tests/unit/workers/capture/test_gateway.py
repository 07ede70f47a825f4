"""The gateway answers for the page, lets nothing through that changes something, tells no token."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from workers.capture import asker
from workers.capture.asker import ByWorker, Cdp
from workers.capture.gateway import Gateway

GRAFANA = "http://grafana.example:3000"
TOKEN = "glsa_secret"

Answer = Callable[[httpx.Request], httpx.Response]


class FakeCdp(Cdp):
    """Records what would be sent to the browser."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, dict[str, Any]]] = []
        self.gone = False

    async def send(self, method: str, params: dict[str, Any]) -> Any:
        self.commands.append((method, params))
        if self.gone:
            raise RuntimeError("Protocol error: Invalid InterceptionId.")

    def to(self, request_id: str) -> list[str]:
        return [method for method, params in self.commands if params["requestId"] == request_id]


class FakeGrafana:
    """Answers by one function, and remembers what it was asked."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.answer = answer or (lambda _request: httpx.Response(200, json={"ok": True}))
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return self.answer(request)


def event(
    url: str, method: str = "GET", *, headers: Mapping[str, str] | None = None, **request: Any
) -> dict[str, Any]:
    return {
        "requestId": "interception-1",
        "request": {"url": url, "method": method, "headers": headers or {}, **request},
    }


def client(transport: httpx.MockTransport) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=transport, headers={"Authorization": f"Bearer {TOKEN}"}, follow_redirects=False
    )


class Scene:
    """One gateway between a browser and a Grafana that are both made up."""

    def __init__(self, answer: Any = None, *, base_url: str = GRAFANA, **options: Any) -> None:
        self.grafana = FakeGrafana(answer)
        self.cdp = FakeCdp()
        self.base_url = base_url
        self.options = options
        #: The pauses between tries, which are not waited for.
        self.waited: list[float] = []

    def make(self, http: httpx.AsyncClient) -> Gateway:
        options = {
            "asker": ByWorker(http, own={}),
            "prepare": lambda body: {**body, "prepared": True},
            "concurrency": 20,
            "allowed_hosts": frozenset(),
            "pause": self.pause,
        } | self.options
        return Gateway(base_url=self.base_url, cdp=self.cdp, **options)

    async def pause(self, seconds: float) -> None:
        self.waited.append(seconds)

    def play(self, *events: Mapping[str, Any]) -> Gateway:
        """Pause the requests one after the other, each until it has its answer."""

        async def run() -> Gateway:
            async with client(httpx.MockTransport(self.grafana)) as http:
                gateway = self.make(http)
                for paused in events:
                    gateway.paused(paused)
                    await asyncio.gather(*gateway._under_way)
                return gateway

        return asyncio.run(run())

    @property
    def command(self) -> tuple[str, dict[str, Any]]:
        """The one command that the browser got."""
        (command,) = self.cdp.commands
        return command

    @property
    def fulfilled(self) -> tuple[int, dict[str, str], bytes]:
        method, params = self.command
        assert method == "Fetch.fulfillRequest"
        headers = {item["name"]: item["value"] for item in params["responseHeaders"]}
        return params["responseCode"], headers, base64.b64decode(params["body"])


# What is answered, what goes on to the browser


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/d/abc/_?from=1&to=2",
        "/d-solo/abc/_",
        "/login",
        "/bootdata",
        "/avatar/46d229b033af06a191ff2267bca9ae56",
        "/api/dashboards/uid/abc",
        "/api/annotations?from=1",
        "/apis/dashboard.grafana.app/v1beta1/namespaces/default/dashboards/abc/dto",
    ],
)
def test_pages_and_the_api_are_answered_by_the_worker_with_the_token(path: str) -> None:
    scene = Scene()
    scene.play(event(GRAFANA + path))
    (asked,) = scene.grafana.asked
    assert str(asked.url) == GRAFANA + path
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    assert scene.fulfilled[0] == 200


@pytest.mark.parametrize(
    "path", ["/public/build/app.js", "/public/img/icon.svg", "/metrics", "/apiary", "/default.css"]
)
def test_static_files_stay_with_the_browser_and_its_cache(path: str) -> None:
    scene = Scene()
    scene.play(event(GRAFANA + path))
    assert scene.command == ("Fetch.continueRequest", {"requestId": "interception-1"})
    assert scene.grafana.asked == []


def test_a_static_file_is_fetched_with_what_a_browser_sends_and_nothing_of_a_script() -> None:
    headers = {"Accept": "*/*", "User-Agent": "x", "Sec-Fetch-Mode": "cors"}
    scene = Scene()
    scene.play(event(f"{GRAFANA}/public/app.js", headers=headers))
    assert scene.command == ("Fetch.continueRequest", {"requestId": "interception-1"})
    scene = Scene()
    more = {"X-WEBAUTH-USER": "admin", "Authorization": "Basic YWRtaW46YWRtaW4="}
    scene.play(event(f"{GRAFANA}/admin", headers=headers | more))
    method, params = scene.command
    assert method == "Fetch.continueRequest"
    assert {one["name"]: one["value"] for one in params["headers"]} == headers


def test_static_files_come_through_the_worker_where_the_browser_cannot_fetch_them() -> None:
    scene = Scene(static=True)
    scene.play(event(f"{GRAFANA}/public/build/app.js"))
    assert [asked.url.path for asked in scene.grafana.asked] == ["/public/build/app.js"]
    assert scene.fulfilled[0] == 200


@pytest.mark.parametrize("url", ["data:image/png;base64,AA==", "blob:http://x/1", "about:blank"])
def test_what_needs_no_network_goes_on(url: str) -> None:
    scene = Scene()
    scene.play(event(url))
    assert scene.command[0] == "Fetch.continueRequest"


def test_status_headers_and_body_arrive_as_grafana_sent_them() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        headers = {
            "content-type": "application/json",
            "x-request-id": "7",
            "set-cookie": "grafana_session=1",
            "transfer-encoding": "chunked",
            "connection": "keep-alive",
        }
        return httpx.Response(404, headers=headers, content=b'{"message":"gone"}')

    scene = Scene(answer)
    gateway = scene.play(event(f"{GRAFANA}/api/annotations"))
    status, headers, body = scene.fulfilled
    assert (status, body) == (404, b'{"message":"gone"}')
    assert headers == {"content-type": "application/json", "x-request-id": "7"}
    assert gateway.traffic.records[0].message == "gone"


def test_a_compressed_answer_is_handed_on_plain() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(
            200, headers={"content-encoding": "gzip"}, content=gzip.compress(b"x")
        )

    scene = Scene(answer)
    scene.play(event(f"{GRAFANA}/api/org"))
    _, headers, body = scene.fulfilled
    assert body == b"x"
    assert not {"content-encoding", "content-length"} & set(headers)


def test_a_redirect_is_the_browsers_to_follow_so_that_its_target_is_paused_again() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(302, headers={"location": "http://evil.example/collect"})

    scene = Scene(answer)
    scene.play(event(f"{GRAFANA}/api/datasources/proxy/uid/x/redirect"))
    status, headers, _ = scene.fulfilled
    assert (status, headers["location"]) == (302, "http://evil.example/collect")
    assert len(scene.grafana.asked) == 1


def test_known_answers_are_not_asked_for_again() -> None:
    path = "/api/dashboards/uid/abc"
    known = asker.Answer(200, {"content-type": "application/json"}, b'{"dashboard":{}}')
    scene = Scene(known={path: known})
    gateway = scene.play(event(GRAFANA + path))
    assert scene.grafana.asked == []
    assert scene.fulfilled[2] == b'{"dashboard":{}}'
    assert gateway.traffic.dashboard_status("abc") == 200


# The dashboard's JSON is prepared on its way


@pytest.mark.parametrize(
    "path",
    [
        "/api/dashboards/uid/abc",
        "/apis/dashboard.grafana.app/v1beta1/namespaces/default/dashboards/abc",
        "/apis/dashboard.grafana.app/v2alpha1/namespaces/default/dashboards/abc/dto",
    ],
)
def test_a_dashboard_is_prepared_on_both_routes(path: str) -> None:
    scene = Scene(lambda _request: httpx.Response(200, json={"some": "dashboard"}))
    scene.play(event(GRAFANA + path))
    assert json.loads(scene.fulfilled[2]) == {"some": "dashboard", "prepared": True}


@pytest.mark.parametrize("path", ["/api/dashboards/uid/abc/versions", "/api/search", "/d/abc/_"])
def test_other_answers_are_left_as_they_are(path: str) -> None:
    scene = Scene(lambda _request: httpx.Response(200, json={"some": "thing"}))
    scene.play(event(GRAFANA + path))
    assert json.loads(scene.fulfilled[2]) == {"some": "thing"}


@pytest.mark.parametrize("body", [b"<html>", b"[1, 2]", b'"text"'])
def test_a_dashboard_of_an_unknown_shape_passes_unprepared(body: bytes) -> None:
    def prepare(body: Mapping[str, Any]) -> Mapping[str, Any]:
        return dict(body)

    scene = Scene(lambda _request: httpx.Response(200, content=body), prepare=prepare)
    scene.play(event(f"{GRAFANA}/api/dashboards/uid/abc"))
    assert scene.fulfilled[2] == body


# Which origin is Grafana


@pytest.mark.parametrize(
    "url",
    [
        "http://grafana.example.evil:3000/api/org",
        "http://grafana.example/api/org",
        "http://grafana.example:3001/api/org",
        "https://grafana.example:3000/api/org",
        "http://grafana.example:3000@evil.example/api/org",
        "http://admin:admin@grafana.example:3000/api/org",
        "http://evil.example/?http://grafana.example:3000/api/org",
        "http://grafana.example:3000.evil.example/api/org",
        "file:///etc/passwd",
        "ftp://grafana.example:3000/api/org",
        "http://[broken/api/org",
    ],
)
def test_another_origin_gets_nothing(url: str) -> None:
    scene = Scene()
    scene.play(event(url))
    method, params = scene.command
    assert (method, params["errorReason"]) == ("Fetch.failRequest", "BlockedByClient")
    assert scene.grafana.asked == []


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("http://grafana.example", "http://grafana.example/api/org"),
        ("http://grafana.example:80", "http://grafana.example/api/org"),
        ("https://grafana.example:443", "https://grafana.example/api/org"),
        ("http://Grafana.Example:3000", "http://grafana.example:3000/api/org"),
    ],
)
def test_the_origin_is_compared_as_browsers_write_it(base_url: str, url: str) -> None:
    scene = Scene(base_url=base_url)
    scene.play(event(url))
    assert len(scene.grafana.asked) == 1


def test_below_a_sub_path_the_same_rules_hold() -> None:
    base = f"{GRAFANA}/monitoring/grafana"
    scene = Scene(base_url=base)
    scene.play(
        event(f"{base}/api/dashboards/uid/abc"),
        event(f"{base}/public/app.js"),
        event(f"{base}/api/dashboards/db", "POST"),
        event(f"{base}"),
    )
    assert [method for method, _ in scene.cdp.commands] == [
        "Fetch.fulfillRequest",
        "Fetch.continueRequest",
        "Fetch.fulfillRequest",
        "Fetch.fulfillRequest",
    ]
    assert [str(asked.url) for asked in scene.grafana.asked] == [
        f"{base}/api/dashboards/uid/abc",
        base,
    ]
    first = json.loads(base64.b64decode(scene.cdp.commands[0][1]["body"]))
    assert first["prepared"] is True


@pytest.mark.parametrize("path", ["/api/org", "/other/api/org", "/grafana-evil/api/org", "/"])
def test_what_stands_beside_the_sub_path_is_not_grafana(path: str) -> None:
    scene = Scene(base_url=f"{GRAFANA}/grafana")
    scene.play(event(GRAFANA + path))
    assert scene.command[0] == "Fetch.failRequest"
    assert scene.grafana.asked == []


def test_an_allowed_host_is_the_browsers_affair_and_gets_no_token() -> None:
    scene = Scene(allowed_hosts=frozenset({"tiles.example.com"}))
    gateway = scene.play(
        event("https://tiles.example.com/1/2/3.png"), event("https://other.example.com/1/2/3.png")
    )
    assert [method for method, _ in scene.cdp.commands] == [
        "Fetch.continueRequest",
        "Fetch.failRequest",
    ]
    assert scene.grafana.asked == []
    assert gateway.traffic.remarks() == ["external content blocked: other.example.com"]


# Nothing that changes something gets through


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize(
    "path",
    [
        "/api/dashboards/db",
        "/api/dashboards/uid/abc",
        "/api/ds/query/../../dashboards/db",
        "/api/datasources/proxy/uid/x/..%2f..%2f..%2f..%2fdashboards/db",
        "/api/datasources/proxy/uid/x/%2e%2e/%2e%2e",
        "/api/annotations",
        "/api/serviceaccounts/1/tokens",
        "/api/user/stars/dashboard/1",
        "/apis/dashboard.grafana.app/v1/namespaces/default/dashboards",
        "/public/app.js",
        "/login",
        "/logout",
        "/nothing/we/know",
        "/",
    ],
)
def test_a_write_is_refused_whatever_the_token_may_do(method: str, path: str) -> None:
    scene = Scene()
    gateway = scene.play(event(GRAFANA + path, method, postData="{}"))
    status, headers, body = scene.fulfilled
    assert status == 403
    assert headers == {"content-type": "application/json"}
    assert json.loads(body) == {"message": "A report only reads: this request was refused."}
    assert scene.grafana.asked == []
    assert gateway.traffic.records == []


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_the_paths_of_queries_take_no_other_method(method: str) -> None:
    scene = Scene()
    scene.play(event(f"{GRAFANA}/api/ds/query", method))
    assert scene.fulfilled[0] == 403
    assert scene.grafana.asked == []


@pytest.mark.parametrize(
    "path",
    [
        "/api/snapshots-delete/0123456789",
        "/api/datasources/proxy/uid/x/..%2f..%2f..%2fadmin",
        "/api/..%5c..%5cother/api/org",
    ],
)
def test_a_get_that_changes_something_or_leads_astray_is_refused(path: str) -> None:
    scene = Scene()
    scene.play(event(GRAFANA + path))
    assert scene.fulfilled[0] == 403
    assert scene.grafana.asked == []


@pytest.mark.parametrize(
    "path",
    [
        "/api/ds/query",
        "/api/ds/query?ds_type=prometheus&requestId=Q1",
        "/api/tsdb/query",
        "/api/datasources/proxy/7/api/v1/query_range",
        "/api/datasources/proxy/uid/abc/_msearch",
        "/api/datasources/uid/abc/resources/api/v1/labels",
        "/api/datasources/7/resources/values",
        "/api/plugins/some-app/resources/items",
        "/api/annotations/graphite",
        "/apis/query.grafana.app/v0alpha1/namespaces/default/query",
        "/apis/prometheus.datasource.grafana.app/v0/namespaces/default/connections/x/query",
    ],
)
def test_a_post_that_asks_for_data_is_answered(path: str) -> None:
    scene = Scene()
    scene.play(event(GRAFANA + path, "POST", postData='{"queries":[]}'))
    (asked,) = scene.grafana.asked
    assert (asked.method, asked.content) == ("POST", b'{"queries":[]}')
    assert scene.fulfilled[0] == 200


def test_a_body_in_several_parts_arrives_whole() -> None:
    parts = [
        {"bytes": base64.b64encode(part).decode()} for part in (b'{"que', b'ries":"\xc3\xa9"}')
    ]
    scene = Scene()
    scene.play(event(f"{GRAFANA}/api/ds/query", "POST", postData="?", postDataEntries=parts))
    assert scene.grafana.asked[0].content == '{"queries":"é"}'.encode()


def test_refusals_are_told_but_not_the_chatter_of_every_page() -> None:
    scene = Scene()
    gateway = scene.play(
        event(f"{GRAFANA}/api/dashboards/db", "POST"),
        event(f"{GRAFANA}/api/frontend-metrics", "POST"),
        event(f"{GRAFANA}/api/user/helpflags/1", "PUT"),
        event("https://tiles.example.com/1.png"),
        event("https://tiles.example.com/2.png"),
    )
    assert gateway.traffic.remarks() == [
        "external content blocked: tiles.example.com",
        "refused to change something: POST /api/dashboards/db",
    ]


# Who asks: the token goes to Grafana only, the page's credentials nowhere


def test_the_token_is_in_nothing_that_is_sent_to_the_browser() -> None:
    scene = Scene()
    scene.play(
        event(f"{GRAFANA}/d/abc/_"),
        event(f"{GRAFANA}/api/org"),
        event(f"{GRAFANA}/public/app.js"),
        event(f"{GRAFANA}/api/org", "DELETE"),
        event("http://evil.example/"),
    )
    assert len(scene.cdp.commands) == 5
    for _, params in scene.cdp.commands:
        body = base64.b64decode(params.get("body", ""))
        assert TOKEN not in repr(params)
        assert TOKEN.encode() not in body


def test_the_pages_own_credentials_are_not_forwarded() -> None:
    headers = {
        "Accept": "application/json",
        "Content-Type": "application/json",
        "Authorization": "Basic YWRtaW46YWRtaW4=",
        "Cookie": "grafana_session=stolen",
        "Origin": GRAFANA,
        "Referer": f"{GRAFANA}/d/abc",
        "X-Dashboard-Uid": "abc",
        "X-Panel-Id": "7",
        "X-Datasource-Uid": "demo",
        "X-Query-Group-Id": "1",
        "X-Grafana-Org-Id": "2",
        "X-WEBAUTH-USER": "admin",
        "X-JWT-Assertion": "e30",
        "X-Forwarded-For": "127.0.0.1",
        "X-HTTP-Method-Override": "DELETE",
        "X-Access-Token": "e30",
    }
    scene = Scene()
    scene.play(event(f"{GRAFANA}/api/ds/query", "POST", headers=headers, postData="{}"))
    (asked,) = scene.grafana.asked
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    own = {"host", "accept-encoding", "connection", "user-agent", "content-length", "authorization"}
    assert {name for name in asked.headers if name not in own} == {
        "accept",
        "content-type",
        "x-dashboard-uid",
        "x-panel-id",
        "x-datasource-uid",
        "x-query-group-id",
    }


def test_a_header_that_the_operator_adds_is_not_a_pages_to_replace() -> None:
    scene = Scene()

    async def run() -> None:
        async with httpx.AsyncClient(
            transport=httpx.MockTransport(scene.grafana), headers={"X-Panel-Key": "ours"}
        ) as http:
            scene.options["asker"] = ByWorker(http, own={"X-Panel-Key": "ours"})
            gateway = scene.make(http)
            gateway.paused(event(f"{GRAFANA}/api/org", headers={"x-panel-key": "theirs"}))
            await asyncio.gather(*gateway._under_way)

    asyncio.run(run())
    assert scene.grafana.asked[0].headers["x-panel-key"] == "ours"


# Trying again


def in_turn(*answers: httpx.Response | Exception) -> Answer:
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        value = left.pop(0)
        if isinstance(value, Exception):
            raise value
        return value

    return answer


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_not_now_is_asked_again(status: int) -> None:
    scene = Scene(in_turn(httpx.Response(status), httpx.Response(200, json={})))
    gateway = scene.play(event(f"{GRAFANA}/api/ds/query", "POST", postData="{}"))
    assert scene.fulfilled[0] == 200
    (record,) = gateway.traffic.records
    assert (record.status, record.tries) == (200, 2)


@pytest.mark.parametrize("status", [207, 400, 401, 403, 404, 422, 500, 501])
def test_what_the_data_source_refused_is_not_asked_again(status: int) -> None:
    refusal = {"message": "no", "results": {"A": {"error": "no", "status": 503}}}
    scene = Scene(in_turn(httpx.Response(status, json=refusal)))
    scene.play(event(f"{GRAFANA}/api/ds/query", "POST", postData="{}"))
    assert scene.fulfilled[0] == status
    assert len(scene.grafana.asked) == 1
    assert scene.waited == []


def test_after_three_tries_the_page_gets_what_grafana_said() -> None:
    scene = Scene(lambda _request: httpx.Response(503, json={"message": "busy"}))
    gateway = scene.play(event(f"{GRAFANA}/api/ds/query", "POST", postData="{}"))
    assert len(scene.grafana.asked) == 3
    assert scene.fulfilled[0] == 503
    (record,) = gateway.traffic.records
    assert (record.tries, record.message) == (3, "busy")


@pytest.mark.parametrize(
    ("retry_after", "waited"),
    [
        ("2", 2.0),
        ("0", 0.0),
        ("3600", 10.0),
        ("-5", 0.0),
        ("soon", 0.4),
        ("nan", 0.0),
        ("Mon, 23 Nov 2026 06:00:03 GMT", 3.0),
        ("Mon, 23 Nov 2026 05:59:00 GMT", 0.0),
        ("Mon, 23 Nov 2027 06:00:00 GMT", 10.0),
        ("Mon, 99 Nov 2026 06:00:00 GMT", 0.4),
        ("Mon, 23 Nov 2026 06:00:03 -0000", 0.4),
    ],
)
def test_retry_after_is_honoured_within_bounds(retry_after: str, waited: float) -> None:
    headers = {"retry-after": retry_after, "date": "Mon, 23 Nov 2026 06:00:00 GMT"}
    refused = httpx.Response(429, headers=headers)
    scene = Scene(in_turn(refused, httpx.Response(200)))
    scene.play(event(f"{GRAFANA}/api/ds/query", "POST", postData="{}"))
    assert scene.waited == [waited]


def test_a_date_to_retry_after_needs_the_date_of_the_answer() -> None:
    refused = httpx.Response(503, headers={"retry-after": "Mon, 23 Nov 2026 06:00:03 GMT"})
    scene = Scene(in_turn(refused, httpx.Response(200)))
    scene.play(event(f"{GRAFANA}/api/ds/query", "POST", postData="{}"))
    assert scene.waited == [0.4]


def test_without_a_hint_the_pause_grows() -> None:
    scene = Scene(lambda _request: httpx.Response(502))
    scene.play(event(f"{GRAFANA}/api/ds/query", "POST", postData="{}"))
    assert scene.waited == [0.4, 0.8]


@pytest.mark.parametrize(
    "lost",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("timed out"),
        httpx.WriteTimeout("timed out"),
        httpx.ReadError("reset by peer"),
        httpx.RemoteProtocolError("Server disconnected without sending a response."),
    ],
)
def test_a_lost_connection_is_asked_again(lost: Exception) -> None:
    scene = Scene(in_turn(lost, httpx.Response(200)))
    gateway = scene.play(event(f"{GRAFANA}/api/ds/query", "POST", postData="{}"))
    assert scene.fulfilled[0] == 200
    assert gateway.traffic.records[0].tries == 2


def test_a_grafana_that_stays_away_is_a_504_with_the_reason() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("All connection attempts failed")

    scene = Scene(answer)
    gateway = scene.play(event(f"{GRAFANA}/api/org"))
    status, _, body = scene.fulfilled
    sentence = "Grafana did not answer: All connection attempts failed"
    assert (status, json.loads(body)) == (504, {"message": sentence})
    assert gateway.traffic.records[0].message == sentence
    assert len(scene.grafana.asked) == 3


def test_a_query_that_ran_out_of_time_is_not_started_once_more() -> None:
    scene = Scene(in_turn(httpx.ReadTimeout("")))
    scene.play(event(f"{GRAFANA}/api/ds/query", "POST", postData="{}"))
    assert scene.fulfilled[0] == 504
    assert len(scene.grafana.asked) == 1
    assert json.loads(scene.fulfilled[2]) == {"message": "Grafana did not answer: ReadTimeout"}


def test_an_answer_that_cannot_be_decoded_is_a_502_and_not_asked_for_again() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        stream = httpx.ByteStream(b"this is not gzip")
        return httpx.Response(200, headers={"content-encoding": "gzip"}, stream=stream)

    scene = Scene(answer)
    scene.play(event(f"{GRAFANA}/api/ds/query", "POST", postData="{}"))
    assert scene.fulfilled[0] == 502
    assert b"Grafana's answer cannot be read" in scene.fulfilled[2]
    assert len(scene.grafana.asked) == 1


def test_an_answer_beyond_the_limit_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asker, "BODY_LIMIT", 2 * 1024 * 1024)
    scene = Scene(lambda _request: httpx.Response(200, content=b"x" * (2 * 1024 * 1024 + 1)))
    gateway = scene.play(event(f"{GRAFANA}/api/ds/query", "POST", postData="{}"))
    status, _, body = scene.fulfilled
    assert status == 502
    assert b"Grafana's answer is larger than 2 MiB, too large for a report" in body
    assert gateway.traffic.records[0].size == len(body)
    assert len(scene.grafana.asked) == 1


# How many at once, and the end


class Gate:
    """A transport whose answers wait until they are let go."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[httpx.Request] = asyncio.Queue()
        self.open = asyncio.Event()
        self.cancelled = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.arrived.put_nowait(request)
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return httpx.Response(200, json={})


def with_gate(scene: Scene, story: Callable[[Gateway, Gate], Awaitable[None]]) -> Gateway:
    async def run() -> Gateway:
        gate = Gate()
        async with client(httpx.MockTransport(gate)) as http:
            gateway = scene.make(http)
            await asyncio.wait_for(story(gateway, gate), 10)
            return gateway

    return asyncio.run(run())


def query(number: int) -> dict[str, Any]:
    paused = event(f"{GRAFANA}/api/ds/query?number={number}", "POST", postData="{}")
    return {**paused, "requestId": f"query-{number}"}


def test_queries_are_under_way_together_up_to_the_captures_cap() -> None:
    scene = Scene(concurrency=8)

    async def story(gateway: Gateway, gate: Gate) -> None:
        for number in range(20):
            gateway.paused(query(number))
        for _ in range(8):
            await gate.arrived.get()
        assert gateway.traffic.in_flight == 20
        assert gate.arrived.empty()
        gate.open.set()
        await asyncio.gather(*gateway._under_way)

    gateway = with_gate(scene, story)
    assert gateway.traffic.in_flight == 0
    assert len(gateway.traffic.queries) == 20


class Turnstile:
    """Lends places, and writes down how many were out at once."""

    def __init__(self, size: int) -> None:
        self.free = asyncio.Semaphore(size)
        self.lent = self.most = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        async with self.free:
            self.lent += 1
            self.most = max(self.most, self.lent)
            yield
            self.lent -= 1


def test_each_query_has_a_place_of_the_pool_while_it_is_under_way() -> None:
    turnstile = Turnstile(3)
    scene = Scene(concurrency=8, place=turnstile.place)

    async def story(gateway: Gateway, gate: Gate) -> None:
        for number in range(12):
            gateway.paused(query(number))
        for _ in range(3):
            await gate.arrived.get()
        assert (gate.arrived.empty(), turnstile.lent) == (True, 3)
        gate.open.set()
        await asyncio.gather(*gateway._under_way)

    gateway = with_gate(scene, story)
    assert (turnstile.lent, turnstile.most) == (0, 3)
    assert len(gateway.traffic.queries) == 12


def test_a_query_that_waits_for_its_turn_keeps_no_other_request_from_its_answer() -> None:
    turnstile = Turnstile(1)
    scene = Scene(concurrency=2, place=turnstile.place)

    async def story(gateway: Gateway, gate: Gate) -> None:
        for number in range(6):
            gateway.paused(query(number))
        await gate.arrived.get()
        gateway.paused(event(f"{GRAFANA}/api/annotations?from=1"))
        assert (await gate.arrived.get()).url.path == "/api/annotations"
        # What stands in the capture's own line has taken no place from others.
        assert turnstile.lent == 1
        gate.open.set()
        await asyncio.gather(*gateway._under_way)

    with_gate(scene, story)


def test_between_two_tries_a_query_keeps_no_place() -> None:
    turnstile = Turnstile(1)
    lent: list[int] = []

    async def pause(seconds: float) -> None:
        lent.append(turnstile.lent)

    scene = Scene(
        in_turn(httpx.Response(503), httpx.Response(200)), place=turnstile.place, pause=pause
    )
    scene.play(event(f"{GRAFANA}/api/ds/query", "POST", postData="{}"))
    assert (scene.fulfilled[0], lent) == (200, [0])


def test_close_cancels_what_is_outstanding() -> None:
    scene = Scene()
    gates: list[Gate] = []

    async def story(gateway: Gateway, gate: Gate) -> None:
        gates.append(gate)
        for number in range(3):
            gateway.paused(query(number))
        for _ in range(3):
            await gate.arrived.get()
        await gateway.close()

    gateway = with_gate(scene, story)
    assert gates[0].cancelled == 3
    assert gateway.traffic.in_flight == 0
    assert scene.cdp.commands == []
    assert [told.message for told in gateway.traffic.told()] == [
        "no answer when the capture ended"
    ] * 3


def test_after_close_a_late_request_of_the_page_fails_at_once() -> None:
    scene = Scene()

    async def story(gateway: Gateway, gate: Gate) -> None:
        await gateway.close()
        gateway.paused(query(1))
        await asyncio.gather(*gateway._under_way)
        assert gate.arrived.empty()

    with_gate(scene, story)
    assert scene.cdp.to("query-1") == ["Fetch.failRequest"]


def test_an_answer_for_a_page_that_went_on_is_swallowed() -> None:
    scene = Scene()
    scene.cdp.gone = True
    gateway = scene.play(event(f"{GRAFANA}/api/org"), event("http://evil.example/"))
    assert [record.status for record in gateway.traffic.records] == [200]


def test_whatever_breaks_in_the_gateway_the_page_is_told() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise RuntimeError("never seen before")

    scene = Scene(answer)
    gateway = scene.play(event(f"{GRAFANA}/api/org"))
    assert scene.command[0] == "Fetch.failRequest"
    assert gateway.traffic.in_flight == 0


def test_an_answer_that_the_browser_paused_and_nobody_waits_for_is_failed() -> None:
    scene = Scene()
    scene.play({**event(f"{GRAFANA}/api/org"), "responseStatusCode": 200})
    assert scene.command[0] == "Fetch.failRequest"
    assert scene.grafana.asked == []


# The record


def test_the_record_tells_queries_from_other_requests() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        status = 500 if request.method == "POST" else 200
        return httpx.Response(status, content=b"0123456789")

    scene = Scene(answer)
    gateway = scene.play(
        event(f"{GRAFANA}/api/annotations"),
        event(f"{GRAFANA}/api/ds/query", "POST", postData="{}"),
        event(f"{GRAFANA}/apis/query.grafana.app/v0/namespaces/x/query", "POST", postData="{}"),
    )
    assert [(record.method, record.status) for record in gateway.traffic.records] == [
        ("GET", 200),
        ("POST", 500),
        ("POST", 500),
    ]
    assert [record.path for record in gateway.traffic.queries] == [
        "/api/ds/query",
        "/apis/query.grafana.app/v0/namespaces/x/query",
    ]
    assert all(record.size == 10 and record.milliseconds >= 0 for record in gateway.traffic.records)


def test_a_query_is_recorded_with_the_panel_that_asks() -> None:
    scene = Scene(lambda _request: httpx.Response(207, json={"results": {"B": {"error": "no"}}}))
    gateway = scene.play(
        event(f"{GRAFANA}/api/ds/query", "POST", headers={"X-Panel-Id": "7"}, postData="{}"),
        event(f"{GRAFANA}/api/datasources/uid/x/resources/values"),
    )
    assert [(told.panel, told.status, told.message) for told in gateway.traffic.told()] == [
        ("7", 207, "B: no"),
        ("", 207, "B: no"),
    ]


def test_the_dashboards_status_is_the_last_and_its_own() -> None:
    statuses = {"abc": 403, "other": 404}

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(statuses[request.url.path.rpartition("/")[2]], json={})

    scene = Scene(answer)
    gateway = scene.play(
        event(f"{GRAFANA}/api/dashboards/uid/abc"), event(f"{GRAFANA}/api/dashboards/uid/other")
    )
    assert gateway.traffic.dashboard_status("abc") == 403
    assert gateway.traffic.dashboard_status("unasked") is None


def test_remarks_name_each_host_once_and_not_more_than_twenty_refusals() -> None:
    scene = Scene()
    gateway = scene.play(
        *(event(f"{GRAFANA}/api/folders/{number}", "DELETE") for number in range(30)),
        event("http://b.example/"),
        event("http://a.example/"),
    )
    remarks = gateway.traffic.remarks()
    assert remarks[:2] == [
        "external content blocked: a.example",
        "external content blocked: b.example",
    ]
    assert len(remarks) == 22


# What tells which code the page runs


def test_the_page_and_the_dashboards_that_it_was_given_are_remembered() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        is_page = request.url.path.startswith("/d/")
        return httpx.Response(200, text="<html>" if is_page else '{"dashboard": {}}')

    page = event(f"{GRAFANA}/d/abc/_") | {"resourceType": "Document"}
    gateway = Scene(answer).play(page, event(f"{GRAFANA}/api/dashboards/uid/abc"))
    assert gateway.document == b"<html>"
    assert [json.loads(body)["prepared"] for body in gateway.handed] == [True]
    assert gateway.traffic.is_plain(1)


def test_a_page_or_a_frame_that_was_not_loaded_by_us_is_not_plain() -> None:
    page = event(f"{GRAFANA}/d/abc/_") | {"resourceType": "Document"}
    frame = event("https://elsewhere.example/") | {"resourceType": "Document"}
    assert not Scene().play(page).traffic.is_plain(0)
    assert not Scene().play(page, page).traffic.is_plain(1)
    assert not Scene().play(page, frame).traffic.is_plain(1)


@pytest.mark.parametrize(
    "odd",
    [
        event(f"{GRAFANA}/public/plugins/acme-clock-panel/module.js"),
        event("https://elsewhere.example/tile.png"),
        event("https://tiles.example/tile.png"),
        event(f"{GRAFANA}/api/dashboards/db", "POST"),
    ],
    ids=["foreign code", "refused host", "allowed host", "refused write"],
)
def test_what_grafanas_own_pages_do_not_ask_for_is_not_plain(odd: dict[str, Any]) -> None:
    gateway = Scene(allowed_hosts=frozenset({"tiles.example"})).play(odd)
    assert not gateway.traffic.is_plain(0)


def test_housekeeping_that_is_refused_is_plain() -> None:
    told = event(f"{GRAFANA}/api/frontend-metrics", "POST")
    static = event(f"{GRAFANA}/public/build/app.js")
    assert Scene().play(told, static).traffic.is_plain(0)
