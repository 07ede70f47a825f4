"""Fetching a logo from the address that somebody wrote into the report settings.

httpcore, and not httpx, since it lets us dial: a name is resolved once, all that it resolves to
is checked, and the connection goes to what was checked, while TLS asks for the name. So a name
that answers differently the second time leads nowhere else. No proxy, no cookies, no token.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any

import httpcore

from shared.logos import MAX_SOURCE
from workers import logo_address
from workers.logo_address import LogoRefused, Target

#: For all of it, redirects included: nobody may hold up a report by answering slowly.
TIMEOUT = 10.0
#: For each connection, each piece.
PATIENCE = 5.0
REDIRECTS = 3
HEADERS = (
    (b"Accept", b"image/png, image/jpeg, image/gif, image/webp;q=0.9"),
    # A picture is compressed already; anything else could unfold to any size.
    (b"Accept-Encoding", b"identity"),
    (b"User-Agent", b"Broadsheet"),
    (b"Connection", b"close"),
)
_MOVED = (301, 302, 303, 307, 308)

#: Returns the addresses of a host, as texts. Raises `OSError`.
Resolver = Callable[[str, int], Collection[str]]


def resolve(host: str, port: int) -> list[str]:
    """Return all addresses of a host. Raises `OSError`."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(where[0]) for *_, where in found))


def fetch(
    url: str,
    *,
    trusted: Collection[str] = (),
    resolver: Resolver = resolve,
    within: float = TIMEOUT,
) -> bytes:
    """Return what is at the address: at most 3 MB, not judged yet whether it is a picture.

    Raises `LogoRefused` with a cause that holds no path and no query of the address.
    """
    deadline = time.monotonic() + within
    at = logo_address.target(url, trusted=trusted)
    for _ in range(REDIRECTS + 1):
        answer = _ask(at, resolver, deadline)
        if isinstance(answer, bytes):
            return answer
        at = logo_address.redirected(at, answer, trusted=trusted)
    raise LogoRefused(f"it leads further than {REDIRECTS} times")


def _ask(at: Target, resolver: Resolver, deadline: float) -> bytes | str:
    """Return the content, or where a redirect leads."""
    dialler = _Dialler(at, resolver, deadline)
    try:
        with (
            httpcore.ConnectionPool(
                ssl_context=ssl.create_default_context(), retries=0, network_backend=dialler
            ) as pool,
            pool.stream(
                "GET",
                httpcore.URL(
                    scheme=at.scheme.encode(),
                    # With its brackets: httpcore writes it into the header Host as it is.
                    host=at.host.encode(),
                    port=at.port,
                    target=at.path.encode(),
                ),
                headers=[(b"Host", _host_header(at)), *HEADERS],
                extensions={
                    "timeout": {
                        "connect": PATIENCE,
                        "read": PATIENCE,
                        "write": PATIENCE,
                        "pool": PATIENCE,
                    }
                },
            ) as response,
        ):
            return _read(response)
    except (httpcore.TimeoutException, TimeoutError) as exc:
        raise LogoRefused(f"{at.origin} did not answer in time") from exc
    except (
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.UnsupportedProtocol,
        OSError,
    ) as exc:
        if _is_untrusted(exc):
            raise LogoRefused(f"{at.origin} shows no certificate that is trusted") from exc
        raise LogoRefused(f"{at.origin} cannot be reached, or speaks no HTTP") from exc


def _is_untrusted(exc: BaseException | None) -> bool:
    """Whether a certificate is behind it: httpcore tells faults of TLS as those of any kind."""
    while exc is not None:
        if isinstance(exc, ssl.SSLCertVerificationError):
            return True
        exc = exc.__cause__ or exc.__context__
    return False


def _host_header(at: Target) -> bytes:
    return at.origin.partition("://")[2].encode()


def _read(response: httpcore.Response) -> bytes | str:
    headers = {name.lower(): value for name, value in response.headers}
    if response.status in _MOVED and b"location" in headers:
        return headers[b"location"].decode("latin-1")
    if response.status != 200:
        raise LogoRefused(f"the answer was {response.status}")
    said = headers.get(b"content-length", b"")
    if said.isdigit() and (len(said) > 12 or int(said) > MAX_SOURCE):
        raise LogoRefused(f"it has more than {MAX_SOURCE // 1024 // 1024} MB")
    content = bytearray()
    for piece in response.iter_stream():
        content += piece
        if len(content) > MAX_SOURCE:
            raise LogoRefused(f"it has more than {MAX_SOURCE // 1024 // 1024} MB")
    return bytes(content)


class _Dialler(httpcore.NetworkBackend):
    """Connects to the checked addresses of one host, and to nothing else."""

    def __init__(self, at: Target, resolver: Resolver, deadline: float) -> None:
        self._at = at
        self._resolver = resolver
        self._deadline = deadline
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - the target's, which is what was judged
        port: int,  # noqa: ARG002 - the same
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 - any of this machine's
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Resolve, check, and connect to the first address that answers."""
        found = _resolved(self._resolver, self._at, self._left(timeout))
        addresses = logo_address.check(self._at.host, found, trusted=self._at.trusted)
        for address in addresses[:-1]:
            try:
                return self._connect(str(address), timeout, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._connect(str(addresses[-1]), timeout, socket_options)

    def _connect(
        self, address: str, timeout: float | None, options: Iterable[Any] | None
    ) -> httpcore.NetworkStream:
        stream = self._inner.connect_tcp(
            address, self._at.port, timeout=self._left(timeout), socket_options=options
        )
        return _Stream(stream, self._left)

    def _left(self, timeout: float | None) -> float:
        """Return how long something may take. Raises `TimeoutError` when the time is up."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left if timeout is None else min(timeout, left)


class _Stream(httpcore.NetworkStream):
    """A connection that ends at the deadline, also when a little comes each second."""

    def __init__(
        self, inner: httpcore.NetworkStream, left: Callable[[float | None], float]
    ) -> None:
        self._inner = inner
        self._left = left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        inner = self._inner.start_tls(ssl_context, server_hostname, self._left(timeout))
        return _Stream(inner, self._left)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _resolved(resolver: Resolver, at: Target, timeout: float) -> Collection[str]:
    """Resolve within the time that is left: the system's resolver knows no timeout."""
    found: list[Collection[str]] = []

    def look() -> None:
        try:
            found.append(resolver(at.host, at.port))
        except (OSError, UnicodeError):
            found.append(())

    # A thread that is late is left behind; it ends when the resolver gives up.
    looking = threading.Thread(target=look, name="logo-resolver", daemon=True)
    looking.start()
    looking.join(timeout)
    if not found:
        raise TimeoutError
    return found[0]
