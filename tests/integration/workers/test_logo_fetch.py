"""Fetching logos over real connections: bounded in size and time, and only to what was checked."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import trustme

from shared.logos import MAX_SOURCE
from tests.pictures import picture
from workers import logo_fetch
from workers.logo_address import LogoRefused

Reply = Callable[[bytes, socket.socket], None]


class Server:
    """Answers each connection by `reply(request, connection)`, on a port of its own."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.reply: Reply = answers(picture())
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=[connection], daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        try:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            request = b""
            while b"\r\n\r\n" not in request:
                piece = connection.recv(4096)
                if not piece:
                    return
                request += piece
            self.requests.append(request)
            self.reply(request, connection)
        except OSError:
            pass  # the client hung up, which is what many of these tests are about
        finally:
            connection.close()

    def close(self) -> None:
        # Closing alone does not wake who waits in accept().
        with contextlib.suppress(OSError):  # closed already
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


def answers(content: bytes, status: str = "200 OK", **headers: str) -> Reply:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"

    def reply(_: bytes, connection: socket.socket) -> None:
        connection.sendall(head + content)

    return reply


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


HOST = "logos.example"
LOOPBACK = {HOST: ["127.0.0.1"]}


def fetch(url: str, hosts: dict[str, list[str]] = LOOPBACK, within: float = 5.0) -> bytes:
    def resolver(host: str, port: int) -> list[str]:
        if host not in hosts:
            raise socket.gaierror(host)
        return hosts[host]

    return logo_fetch.fetch(url, trusted=[HOST], resolver=resolver, within=within)


def refused(*how, **more) -> str:
    with pytest.raises(LogoRefused) as caught:
        fetch(*how, **more)
    assert "SECRET" not in caught.value.message
    return caught.value.message


def test_a_picture_is_fetched_with_nothing_of_ours_in_the_request(server: Server) -> None:
    server.reply = answers(picture(), Content_Type="text/html", Set_Cookie="a=b")
    assert fetch(f"http://{HOST}:{server.port}/a%20b?x=1#f") == picture()
    head, *lines = server.requests[0].decode().split("\r\n")
    assert head == "GET /a%20b?x=1 HTTP/1.1"
    names = {line.partition(":")[0].lower() for line in lines if line}
    assert names == {"host", "accept", "accept-encoding", "user-agent", "connection"}
    assert f"Host: {HOST}:{server.port}" in lines


def test_a_host_inside_that_the_settings_do_not_name_is_not_connected_to(server: Server) -> None:
    def resolver(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    with pytest.raises(LogoRefused, match="is inside this network"):
        logo_fetch.fetch("http://inside.example/", resolver=resolver)
    for url in ("http://127.0.0.1/", "http://[::1]/", "http://localhost/"):
        with pytest.raises(LogoRefused, match="is inside this network"):
            logo_fetch.fetch(url)
    assert server.requests == []


def test_a_name_is_resolved_once_so_that_it_cannot_answer_differently(server: Server) -> None:
    asked: list[str] = []

    def resolver(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["192.0.2.1"]

    url = f"http://{HOST}:{server.port}/"
    assert logo_fetch.fetch(url, trusted=[HOST], resolver=resolver) == picture()
    assert asked == [HOST]


def test_the_next_address_of_a_name_is_tried(server: Server) -> None:
    hosts = {HOST: ["::1", "127.0.0.1"]}
    assert fetch(f"http://{HOST}:{server.port}/", hosts) == picture()


def test_redirects_are_followed_and_each_is_judged_anew(server: Server) -> None:
    def reply(request: bytes, connection: socket.socket) -> None:
        if request.startswith(b"GET /start"):
            answers(b"", "302 Found", Location="/next")(request, connection)
        else:
            answers(picture())(request, connection)

    server.reply = reply
    assert fetch(f"http://{HOST}:{server.port}/start") == picture()
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/SECRET",
        "http://[::1]/SECRET",
        "http://metadata.example/SECRET",
        "http://2130706433/SECRET",
        "http://localhost:6379/SECRET",
        "file:///etc/passwd",
        "http://user:SECRET@example.org/",
    ],
)
def test_a_redirect_inside_is_not_followed(server: Server, location: str) -> None:
    server.reply = answers(b"", "302 Found", Location=location)
    hosts = {
        **LOOPBACK,
        "127.0.0.1": ["127.0.0.1"],
        "::1": ["::1"],
        "metadata.example": ["8.8.8.8", "169.254.169.254"],
    }
    refused(f"http://{HOST}:{server.port}/SECRET", hosts)
    assert len(server.requests) == 1


def test_a_ring_of_redirects_ends(server: Server) -> None:
    server.reply = answers(b"", "301 Moved", Location="/SECRET")
    assert "further than 3 times" in refused(f"http://{HOST}:{server.port}/SECRET")
    assert len(server.requests) == 4


@pytest.mark.parametrize("status", ["204 No", "206 Part", "401 No", "404 No", "500 No", "302 No"])
def test_an_answer_that_is_no_picture_says_what_it_is(server: Server, status: str) -> None:
    server.reply = answers(b"", status)
    assert refused(f"http://{HOST}:{server.port}/SECRET") == f"the answer was {status[:3]}"


def test_what_says_it_is_too_large_is_not_read(server: Server) -> None:
    def reply(_: bytes, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MAX_SOURCE + 1))
        connection.recv(1)  # until the client hangs up

    server.reply = reply
    assert "more than 3 MB" in refused(f"http://{HOST}:{server.port}/SECRET")


def test_what_does_not_end_is_read_to_the_limit_and_no_further(server: Server) -> None:
    sent = [0]

    def reply(_: bytes, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = bytes(65_536)
        while True:
            connection.sendall(b"10000\r\n" + piece + b"\r\n")
            sent[0] += len(piece)

    server.reply = reply
    assert "more than 3 MB" in refused(f"http://{HOST}:{server.port}/SECRET")
    assert sent[0] < 4 * MAX_SOURCE


@pytest.mark.parametrize(
    "before", [b"", b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\n\r\n"]
)
def test_who_answers_byte_by_byte_is_given_up(server: Server, before: bytes) -> None:
    over = threading.Event()

    def reply(_: bytes, connection: socket.socket) -> None:
        connection.sendall(before)
        while not over.wait(0.05):
            connection.sendall(b"x")

    server.reply = reply
    began = time.monotonic()
    try:
        told = refused(f"http://{HOST}:{server.port}/SECRET", within=0.4)
    finally:
        over.set()
    assert time.monotonic() - began < 3
    # Where no header was begun, its first letters show that it is no HTTP.
    assert "in time" in told or "speaks no HTTP" in told


def test_a_resolver_that_does_not_answer_is_given_up() -> None:
    over = threading.Event()

    def resolver(host: str, port: int) -> list[str]:
        over.wait(30)
        return []

    try:
        with pytest.raises(LogoRefused, match="in time"):
            logo_fetch.fetch("http://example.org/", resolver=resolver, within=0.2)
    finally:
        over.set()


def test_who_is_away_or_unknown_or_speaks_something_else_is_told_apart(server: Server) -> None:
    assert "has no address" in refused("http://unknown.example/SECRET")
    server.reply = lambda _, connection: connection.sendall(b"-ERR unknown command\r\n")
    assert "speaks no HTTP" in refused(f"http://{HOST}:{server.port}/SECRET")
    port = server.port
    server.close()
    assert "cannot be reached" in refused(f"http://{HOST}:{port}/SECRET")


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_server(authority: trustme.CA, tmp_path, monkeypatch) -> Iterator[Server]:
    """A server with a certificate for `HOST`, whose authority this machine trusts."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    server = Server(context)
    yield server
    server.close()


def test_a_certificate_is_checked_against_the_name_and_not_the_address(tls_server: Server) -> None:
    assert fetch(f"https://{HOST}:{tls_server.port}/") == picture()

    def resolver(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    other = f"https://other.example:{tls_server.port}/"
    with pytest.raises(LogoRefused, match="shows no certificate that is trusted"):
        logo_fetch.fetch(other, trusted=["other.example"], resolver=resolver)


def test_a_proxy_of_the_environment_is_not_asked(server: Server, monkeypatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetch(f"http://{HOST}:{server.port}/") == picture()
