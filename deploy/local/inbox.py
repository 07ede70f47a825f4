"""A mail server for one machine that delivers nothing: it keeps every mail and shows it.

    python -m deploy.local.inbox --port 1025 --http-port 8025 --folder DIR

Each mail becomes a file (`000001.eml`) that any mail program opens; a small page on loopback
lists them. Tests use `Inbox` itself, and tell it what to do wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import ssl
import threading
import warnings
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, unquote

import aiosmtpd.smtp
import jinja2
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

START_TIMEOUT = 10.0

#: Answers for `Inbox.faults` that are no answer: hang up, or say nothing until the client leaves.
DROP = "drop"
SILENCE = "silence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A mail as it came: `content` are the bytes that went over the wire."""

    number: int
    sender: str
    recipients: tuple[str, ...]
    at: datetime
    content: bytes

    @property
    def message(self) -> EmailMessage:
        """The mail taken apart."""
        message = message_from_bytes(self.content, policy=policy.default)
        assert isinstance(message, EmailMessage)  # noqa: S101 - the default policy makes these
        return message

    def text(self, subtype: str) -> str:
        """The body as "plain" or "html"; empty where it has none."""
        body = self.message.get_body((subtype,))
        return str(body.get_content()) if body else ""

    def files(self) -> list[EmailMessage]:
        """Every part that is no body, pictures shown in the HTML too."""
        return [
            part
            for part in self.message.walk()
            if isinstance(part, EmailMessage) and part.get_content_disposition()
        ]


class Inbox:
    """An SMTP server on loopback, running while its `with` block does.

    `faults` says what to do instead of the right thing, by the moment it happens: "connect",
    "ehlo", "mail", "rcpt", "rset", "data", "body" (in the middle of the text) or "dot"; the
    value is an answer ("451 4.3.0 Try again later"), `DROP` or `SILENCE`. A mail dropped or left
    in silence at the dot is kept: the server has it, and only its sender does not know.
    `refusals` answers for single recipients. While `gate` is not set, the answer to the dot
    waits.
    """

    def __init__(
        self,
        folder: Path,
        port: int = 0,
        *,
        user: str = "",
        password: str = "",
        tls: ssl.SSLContext | None = None,
        tls_from_start: bool = False,
        smtputf8: bool = True,
        size_limit: int = 64 * 1024 * 1024,
    ) -> None:
        self.folder = folder
        self.port = port
        self.user = user
        self.password = password
        self.faults: dict[str, str] = {}
        self.refusals: dict[str, str] = {}
        self.gate = threading.Event()
        self.gate.set()
        #: Set once a client waits in vain.
        self.silent = threading.Event()
        #: Connections so far, so that a test can see one being used again.
        self.connections = 0
        self.open: set[_Server] = set()
        self._tls = tls
        self._tls_from_start = tls_from_start
        self._options: dict[str, Any] = {
            "hostname": "inbox.localhost",
            "enable_SMTPUTF8": smtputf8,
            "data_size_limit": size_limit,
        }
        self._messages: list[Received] = []
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="inbox")

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._messages = [_read(path) for path in sorted(self.folder.glob("*.eml"))]
        self._thread.start()
        try:
            self._run(self._start())
        except BaseException:
            self._stop_loop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self._run(self._stop())
        self._stop_loop()

    @property
    def messages(self) -> list[Received]:
        """All mails so far, the oldest first."""
        with self._changed:
            return list(self._messages)

    def wait_for(self, count: int, timeout: float = 10.0) -> list[Received]:
        """Return the mails as soon as there are `count`; raise `TimeoutError` after `timeout`."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._messages) >= count, timeout):
                came = len(self._messages)
                raise TimeoutError(f"{came} of {count} mails came within {timeout} s.")
            return list(self._messages)

    def keep(self, sender: str, recipients: list[str], content: bytes) -> None:
        """Store a mail so that it outlives this process, then tell who waits for it."""
        with self._changed:
            received = Received(
                number=self._messages[-1].number + 1 if self._messages else 1,
                sender=sender,
                recipients=tuple(recipients),
                at=datetime.now(UTC),
                content=content,
            )
            _write(self.folder / f"{received.number:06d}.eml", received)
            self._messages.append(received)
            self._changed.notify_all()

    async def _start(self) -> None:
        self._server = await self._loop.create_server(
            self._protocol,
            "127.0.0.1",
            self.port,
            ssl=self._tls if self._tls_from_start else None,
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def _protocol(self) -> _Server:
        self.connections += 1
        with warnings.catch_warnings():
            # A password without TLS: on loopback, and made up.
            warnings.simplefilter("ignore")
            return _Server(
                self,
                auth_required=bool(self.user),
                auth_require_tls=self._tls is not None and not self._tls_from_start,
                authenticator=self._authenticate,
                tls_context=None if self._tls_from_start else self._tls,
                loop=self._loop,
                **self._options,
            )

    def _authenticate(
        self, _server: Any, _session: Session, _envelope: Envelope, _mechanism: str, login: Any
    ) -> AuthResult:
        expected = LoginPassword(self.user.encode(), self.password.encode())
        return AuthResult(success=login == expected, handled=False)

    async def _stop(self) -> None:
        self._server.close()
        for conversation in list(self.open):
            conversation.hang_up()
        while self.open:  # noqa: ASYNC110 - a turn or two of this loop
            await asyncio.sleep(0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        future: Future[None] = asyncio.run_coroutine_threadsafe(work, self._loop)
        future.result(START_TIMEOUT)

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_TIMEOUT)
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


class _Server(aiosmtpd.smtp.SMTP):
    """One conversation; the inbox's faults come before what aiosmtpd would do."""

    def __init__(self, inbox: Inbox, **options: Any) -> None:
        super().__init__(_Handler(), **options)
        self._inbox = inbox

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._inbox.open.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._inbox.open.discard(self)

    def hang_up(self) -> None:
        """Close the connection without another word."""
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()

    async def _handle_client(self) -> None:
        if await self._fault("connect"):
            await self._leave()
        await super()._handle_client()

    async def smtp_EHLO(self, hostname: str) -> None:  # noqa: N802 - aiosmtpd's name
        if not await self._fault("ehlo"):
            await super().smtp_EHLO(hostname)

    async def smtp_MAIL(self, arg: str | None) -> None:  # noqa: N802 - aiosmtpd's name
        if not await self._fault("mail"):
            await super().smtp_MAIL(arg)

    async def smtp_RCPT(self, arg: str | None) -> None:  # noqa: N802 - aiosmtpd's name
        for recipient, answer in self._inbox.refusals.items():
            if arg and f"<{recipient}>" in arg:
                await self.push(answer)
                return
        if not await self._fault("rcpt"):
            await super().smtp_RCPT(arg)

    async def smtp_RSET(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        if not await self._fault("rset"):
            await super().smtp_RSET(arg)

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        if await self._fault("data"):
            return
        if "body" in self._inbox.faults:
            await self.push("354 Go ahead")
            await self._reader.readline()
            await self._fault("body")
            await self._leave()
        await super().smtp_DATA(arg)

    async def push(self, status: Any) -> None:
        await super().push(status)
        if str(status).startswith("421"):
            await self._leave()

    async def _fault(self, moment: str) -> bool:
        """Do what is wrong at this moment; False: nothing is."""
        answer = self._inbox.faults.get(moment)
        if answer == DROP:
            await self._leave()
        elif answer == SILENCE:
            self._inbox.silent.set()
            await self._wait_for_the_end()
        elif answer:
            await self.push(answer)
        return bool(answer)

    async def take(self, envelope: Envelope) -> str:
        """Keep the mail, then answer the dot, unless a fault does it."""
        answer = self._inbox.faults.get("dot")
        if answer in (None, DROP, SILENCE):
            content = envelope.original_content or b""
            self._inbox.keep(envelope.mail_from or "", list(envelope.rcpt_tos), content)
        await asyncio.to_thread(self._inbox.gate.wait)
        if answer in (DROP, SILENCE):
            await self._fault("dot")
        return answer or "250 2.0.0 Kept"

    async def _leave(self) -> None:
        """Hang up; nothing after this line runs."""
        if self.transport is not None:
            self.transport.close()
        await self._wait_for_the_end()

    async def _wait_for_the_end(self) -> None:
        """Wait until the connection is gone, which cancels this task."""
        await asyncio.get_running_loop().create_future()


class _Handler:
    """Where aiosmtpd looks for what to do with a whole mail."""

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: _Server, _session: Session, envelope: Envelope
    ) -> str:
        return await server.take(envelope)


# -- files ----------------------------------------------------------------------------------


def _write(path: Path, received: Received) -> None:
    """Write the mail under the lines that a mail server puts above it, safe from a power cut."""
    above = [
        f"Return-Path: <{received.sender}>",
        *(f"Delivered-To: {recipient}" for recipient in received.recipients),
        f"Received: by inbox.localhost; {received.at.isoformat()}",
    ]
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write("".join(f"{line}\r\n" for line in above).encode() + received.content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path) -> Received:
    """The inverse of `_write`."""
    above, received, rest = path.read_bytes().partition(b"Received: by inbox.localhost; ")
    at, _, content = rest.partition(b"\r\n")
    lines = above.decode().splitlines() if received else []
    return Received(
        number=int(path.stem),
        sender=lines[0].removeprefix("Return-Path: <").removesuffix(">"),
        recipients=tuple(line.removeprefix("Delivered-To: ") for line in lines[1:]),
        at=datetime.fromisoformat(at.decode()),
        content=content,
    )


# -- the page -------------------------------------------------------------------------------

#: A mail comes from anywhere: its HTML runs no script and loads nothing but its own pictures.
MAIL_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; "
    "img-src 'self' data:; style-src 'unsafe-inline'"
)
PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; base-uri 'none'"


@contextmanager
def page(inbox: Inbox, port: int = 0) -> Iterator[int]:
    """Show the inbox on a port of loopback while the block runs; yield the port."""
    server = ThreadingHTTPServer(("127.0.0.1", port), _Page)
    server.inbox = inbox  # type: ignore[attr-defined]  # for the handler, made per request
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="inbox-page")
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Page(BaseHTTPRequestHandler):
    """Answers the requests of a browser, and of scripts at /messages.json."""

    timeout = 10.0

    def do_GET(self) -> None:
        """Answer with a page, a file, or 404."""
        host = (self.headers.get("Host") or "").rpartition(":")[0]
        if host not in ("127.0.0.1", "localhost"):
            # Some page of the web, under a name of its own that leads here.
            self._answer("Not here.", status=HTTPStatus.FORBIDDEN)
            return
        path = self.path.partition("?")[0]
        if path == "/":
            self._answer(_render(messages=self._messages()[::-1], message=None), kind="text/html")
        elif path == "/messages.json":
            listing = [_summary(received) for received in self._messages()]
            self._answer(json.dumps(listing, indent=2), kind="application/json")
        elif found := re.fullmatch(r"/messages/(\d+)(?:/(html|raw|files/(\d+)))?", path):
            self._message(int(found[1]), found[2] or "", int(found[3] or 0))
        else:
            self._answer("There is no such page.", status=HTTPStatus.NOT_FOUND)

    def _messages(self) -> list[Received]:
        inbox: Inbox = self.server.inbox  # type: ignore[attr-defined]  # see `page`
        return inbox.messages

    def _message(self, number: int, view: str, file: int) -> None:
        received = next((item for item in self._messages() if item.number == number), None)
        files = received.files() if received else []
        if received is None or (view.startswith("files") and file >= len(files)):
            self._answer("There is no such mail.", status=HTTPStatus.NOT_FOUND)
        elif view == "html":
            self._answer(_with_pictures(received), kind="text/html", policy=MAIL_POLICY)
        elif view == "raw":
            self._answer(received.content, kind="message/rfc822", name=f"{number:06d}.eml")
        elif view:
            part = files[file]
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)  # noqa: S101 - a part with a disposition is a leaf
            name = part.get_filename() or "file"
            self._answer(content, kind=part.get_content_type(), name=name)
        else:
            self._answer(_render(messages=[], message=received), kind="text/html")

    def _answer(
        self,
        body: str | bytes,
        *,
        status: HTTPStatus = HTTPStatus.OK,
        kind: str = "text/plain",
        policy: str = PAGE_POLICY,
        name: str = "",
    ) -> None:
        content = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8" if not name else kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        if name:
            self.send_header("Content-Disposition", f"attachment; filename*=utf-8''{quote(name)}")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Keep quiet: the terminal belongs to whoever started the stack."""


def _render(**view: Any) -> str:
    template = Path(__file__).with_name("inbox.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(view)


def _summary(received: Received) -> dict[str, Any]:
    message = received.message
    return {
        "number": received.number,
        "at": received.at.isoformat(),
        "sender": received.sender,
        "recipients": list(received.recipients),
        "subject": str(message["Subject"] or ""),
        "message_id": str(message["Message-ID"] or ""),
        "size": len(received.content),
        "files": [part.get_filename() or "" for part in received.files()],
    }


def _with_pictures(received: Received) -> str:
    """Return the HTML with its cid: addresses pointing at this server."""
    places = {
        str(part["Content-ID"]).strip("<>"): f"/messages/{received.number}/files/{index}"
        for index, part in enumerate(received.files())
        if part["Content-ID"]
    }
    return re.sub(
        r"cid:([^\s\"'<>)]+)",
        lambda found: places.get(unquote(found[1]), found[0]),
        received.text("html"),
    )


# -- the command ----------------------------------------------------------------------------


def main() -> None:
    """Run until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(description="Keep every mail, and show it.")
    parser.add_argument("--port", type=int, default=1025, help="of the SMTP server")
    parser.add_argument("--http-port", type=int, default=8025, help="of the page")
    parser.add_argument("--folder", type=Path, required=True, help="where mails are kept")
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Inbox(options.folder, options.port) as inbox, page(inbox, options.http_port) as port:
        print(f"Inbox: smtp://127.0.0.1:{inbox.port}, http://127.0.0.1:{port}/", flush=True)
        stop.wait()


if __name__ == "__main__":
    main()
