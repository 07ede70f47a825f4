"""The stand-in's server: the handle that tests hold, and what happens around every request.

One WSGI layer around the Flask app records every request, plays faults, and strips the sub-path, so
that nothing a page or a gateway sends goes unseen, wherever it is aimed.
"""

import io
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

from flask import Flask, Response
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from deploy.local.grafana.app import Frontend, World, make_app
from deploy.local.grafana.records import HEADERS_OF_INTEREST, Fault, Faults, Request, Requests
from deploy.local.grafana.waiting import wait

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_BODY_LIMIT = 1_000_000


class StandIn:
    """A running stand-in, on a thread of this process: `with StandIn("scenes") as grafana: …`.

    `requests` records, `faults` misbehave on demand, `down` refuses connections, `add_dashboard`
    adds a model. Entering and leaving are what starts and stops it; `port` 0 takes any free one and
    keeps it while it lives.
    """

    def __init__(
        self,
        frontend: Frontend = "scenes",
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        sub_path: str = "",
        tls: ssl.SSLContext | None = None,
        proxy_key: str = "",
        sanitizes: bool = False,
    ) -> None:
        """With `proxy_key`, it stands behind a proxy that wants this in `X-Proxy-Key`.

        `sanitizes` is Grafana's default: text panels show their HTML without scripts, here as text.
        """
        self.world = World(frontend)
        self.world.sanitizes = sanitizes
        self.frontend = frontend
        self.version = self.world.version
        self.host = host
        self.port = port
        self.sub_path = "/" + sub_path.strip("/") if sub_path.strip("/") else ""
        self.tokens = self.world.identities.tokens
        self.token = self.tokens["viewer"]
        self.requests = Requests()
        self.faults = Faults()
        self.proxy_key = proxy_key
        self._tls = tls
        self._server: BaseWSGIServer | None = None
        self._thread: threading.Thread | None = None
        self._down = False
        self._wsgi = _Outside(self, make_app(self.world))

    @property
    def url(self) -> str:
        """Base address with the sub-path, without a slash at the end."""
        scheme = "https" if self._tls else "http"
        return f"{scheme}://{self.host}:{self.port}{self.sub_path}"

    @property
    def down(self) -> bool:
        """While true nothing listens on the port and open connections are cut."""
        return self._down

    @down.setter
    def down(self, wanted: bool) -> None:
        if wanted == self._down:
            return
        self._down = wanted
        if wanted:
            self._stop_listening()
        else:
            self._listen()

    def add_dashboard(
        self, model: dict[str, Any], *, hidden: bool = False, through_apis: bool = False
    ) -> None:
        """Add or replace one.

        `hidden` closes it to Viewers, `through_apis` makes the page load it by `/apis/…`.
        """
        self.world.dashboards.add(model, hidden=hidden, through_apis=through_apis)

    def start(self) -> None:
        """Listen, on a thread; for those who cannot use `with`."""
        self.world.stopping.clear()
        self._listen()

    def stop(self) -> None:
        """Stop at once; delayed answers are given up, so no test waits for an endless query."""
        self.world.stopping.set()
        self._stop_listening()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _listen(self) -> None:
        self._server = make_server(
            self.host,
            self.port,
            self._wsgi,
            threaded=True,
            request_handler=_Handler,
            ssl_context=self._tls,
        )
        self.port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.05},
            name="stand-in",
            daemon=True,
        )
        self._thread.start()

    def _stop_listening(self) -> None:
        server, thread = self._server, self._thread
        if server is None or thread is None:
            return
        server.shutdown()
        thread.join()
        server.server_close()
        self._server = self._thread = None


class _Handler(WSGIRequestHandler):
    """Keep-alive as Grafana has it, and quiet: the record of requests is what a test reads."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log(self, *_: object) -> None:
        """Say nothing."""


@runtime_checkable
class Closable(Protocol):
    """What WSGI allows an answer to be."""

    def close(self) -> None:
        """Let go of what is open."""


class _Outside:
    """Everything before Flask: sub-path, record, proxy, faults, a server that is down."""

    def __init__(self, stand_in: StandIn, app: Flask) -> None:
        self.stand_in = stand_in
        self.app = app

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        stand_in = self.stand_in
        if stand_in.down:
            self._cut(environ)
        if not self._enter_sub_path(environ):
            return Response("Not found\n", 404, mimetype="text/plain")(environ, start_response)
        seen = _request_from(environ)
        stand_in.requests.begin(seen)

        def start(status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], object]:
            seen.status = int(status.split(" ", 1)[0])
            return start_response(status, headers, exc_info)

        try:
            if stand_in.proxy_key and seen.headers.get("x-proxy-key") != stand_in.proxy_key:
                return list(Response("Who are you?\n", 407)(environ, start))
            fault = stand_in.faults.take(seen.method, seen.path)
            played = self._play(fault, environ) if fault else None
            if played is not None:
                return list(played(environ, start))
            return _whole(self.app(environ, start))
        finally:
            stand_in.requests.finish(seen)

    def _enter_sub_path(self, environ: "WSGIEnvironment") -> bool:
        prefix, path = self.stand_in.sub_path, environ.get("PATH_INFO", "")
        if prefix and path != prefix and not path.startswith(prefix + "/"):
            return False
        environ["SCRIPT_NAME"], environ["PATH_INFO"] = prefix, path[len(prefix) :] or "/"
        return True

    def _play(self, fault: Fault, environ: "WSGIEnvironment") -> Response | None:
        wait(fault.delay, self.stand_in.world.stopping, environ.get("werkzeug.socket"))
        if fault.drop:
            self._cut(environ)
        if fault.status is None:
            return None
        body = {"message": "played by the stand-in"} if fault.body is None else fault.body
        return Response(
            json.dumps(body), fault.status, headers=fault.headers, mimetype="application/json"
        )

    def _cut(self, environ: "WSGIEnvironment") -> None:
        """Close the socket with no answer; werkzeug takes the error as a client that went away."""
        connection: socket.socket | None = environ.get("werkzeug.socket")
        if connection is not None:
            connection.shutdown(socket.SHUT_RDWR)
        raise ConnectionAbortedError("the stand-in dropped this connection")


def _whole(answer: Iterable[bytes]) -> list[bytes]:
    """All of an answer, so that `finish` comes after it; closed, because it may be an open file."""
    try:
        return list(answer)
    finally:
        if isinstance(answer, Closable):
            answer.close()


def _request_from(environ: "WSGIEnvironment") -> Request:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(length) if 0 < length <= _BODY_LIMIT else b""
    if body:
        environ["wsgi.input"] = io.BytesIO(body)
    headers = {
        name: environ[key]
        for name in HEADERS_OF_INTEREST
        if (key := "HTTP_" + name.upper().replace("-", "_")) in environ
    }
    return Request(
        environ["REQUEST_METHOD"],
        environ["PATH_INFO"],
        environ.get("QUERY_STRING", ""),
        headers,
        time.monotonic(),
        body,
    )
