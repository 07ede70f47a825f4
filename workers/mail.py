"""The mail server: building the bytes of a mail, handing them over, knowing what became of them.

The one home of Flask-Mail and smtplib. smtplib alone raises the same error whether a connection
broke before the mail was complete or after; the difference between a safe retry and a second
copy. So the client here goes through the phases of a mail one by one, and asks `before_dot`
for the word that makes the final dot durable before it is sent.
"""

from __future__ import annotations

import contextlib
import re
import selectors
import smtplib
import socket
import ssl
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from email.charset import QP, Charset
from email.encoders import encode_base64
from email.header import Header
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import Compat32
from email.utils import encode_rfc2231, format_datetime, formataddr, parseaddr
from typing import Any

import flask_mail
import idna
from flask import Flask

from shared import traces
from shared.errors import BroadsheetError, SettingsError
from shared.mail_place import MailPlace
from shared.settings import Settings
from shared.traces import Span
from workers.messages import LOGO, Letter, header_text

#: RFC 5321 (4.5.3.2.6): a server may need ten minutes to answer the dot, and giving up on it
#: before that is how mails come twice.
REPLY_TIMEOUT = 600.0

#: What is waited for each answer until a mail can begin: greeting, TLS, sign-in. One that hangs
#: is then told of well within a minute; once it has greeted us it has more time.
GREETING = 20.0

#: A connection is given back after so many mails: servers and balancers count on it.
MAILS_PER_CONNECTION = 100

#: Where mailers share a few connections, one that has nothing to send lets others have its own.
IDLE = 0.5
#: How long a mailer waits for one of them, in seconds; longer than another may sit idle on it.
PATIENCE = 1.0
#: What is waited for a server's farewell.
FAREWELL = 2.0
#: What is waited for a word on a connection that was kept.
STILL_THERE = 10.0

#: Written at once; each piece has the whole timeout for itself, so a slow line is not a dead one.
PIECE = 64 * 1024


class MailError(BroadsheetError):
    """The mail could not be handed to the mail server."""

    #: What the server answered; None where it said nothing.
    code: int | None = None


class MailRefused(MailError):
    """The mail was not accepted, so sending it again cannot make it two.

    `phase` is how far it came. `permanent`: this mail will never be taken.
    `configuration`: the fault is in the settings and not in this mail, so it concerns every mail.
    `too_large`: it may be taken without its attachments.
    `throttled`: the server asks for fewer mails, of everybody.
    """

    def __init__(
        self,
        text: str,
        *,
        phase: str,
        code: int | None = None,
        permanent: bool = False,
        configuration: bool = False,
        too_large: bool = False,
        throttled: bool = False,
    ) -> None:
        super().__init__(f"{code} {text}" if code else text)
        self.text = text
        self.phase = phase
        self.code = code
        self.permanent = permanent
        self.configuration = configuration
        self.too_large = too_large
        self.throttled = throttled

    @property
    def of_the_server(self) -> bool:
        """Whether no mail would have fared better: there was no connection, or none for us."""
        return self.configuration or self.phase in _BEFORE_MAIL

    @property
    def heard(self) -> bool:
        """Whether the server itself said so, of this mail."""
        return self.code is not None and self.phase in _OF_THE_MAIL


class MailUnknown(MailError):
    """The whole mail was sent and no answer came: the server may have it. Ask the recipient."""


class MailBusy(MailError):
    """All connections that the mail server may have are in use. Nothing was sent."""


class MailStopped(MailError):
    """The mail was stopped before its final dot: another worker has it. Nothing was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The mail server took the mail: its answer to the dot."""

    code: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One file of a mail; with a `content_id` it is shown inside the HTML."""

    name: str
    media_type: str
    content: bytes
    content_id: str | None = None


class Mailer:
    """Builds mails and hands them to the server of the settings. Not for use by two threads.

    Nothing is opened before the first mail; the connection is then kept for the next one, or
    given back soon where it needs a `place`, of which all mailers together have a few.
    Raises `SettingsError` when BROADSHEET_SMTP_FROM is no address.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        place: MailPlace | None = None,
        reply_timeout: float = REPLY_TIMEOUT,
        idle: float = IDLE,
    ) -> None:
        self._settings = settings
        self._place = place
        self._idle = idle
        # Between this thread and the one that gives back what is idle.
        self._using = threading.RLock()
        self._rest: threading.Timer | None = None
        name, address = parseaddr(settings.smtp_from)
        try:
            self._sender = _envelope(address)
            self._from = formataddr((_encoded(name), self._sender))
        except UnicodeError as exc:
            raise SettingsError("BROADSHEET_SMTP_FROM: must be ASCII before the @.") from exc
        except MailRefused as exc:
            raise SettingsError(f"BROADSHEET_SMTP_FROM: {exc.text}") from exc
        # Flask-Mail reads its configuration from an app; this one has no other purpose.
        self._app = Flask("mailer")
        self._app.config.update(
            MAIL_SERVER=settings.smtp_host,
            MAIL_PORT=settings.smtp_port,
            MAIL_USE_TLS=settings.smtp_security == "starttls",
            MAIL_USE_SSL=settings.smtp_security == "tls",
            MAIL_USERNAME=settings.smtp_user,
            MAIL_PASSWORD=settings.smtp_password,
            MAIL_DEFAULT_SENDER=self._from,
            MAIL_MAX_EMAILS=MAILS_PER_CONNECTION,
        )
        self._connection = _Connection(flask_mail.Mail(self._app), settings, reply_timeout, place)

    def build(
        self, letter: Letter, *, recipient: str, message_id: str, attachments: Sequence[Attachment]
    ) -> bytes:
        """Return the mail as it goes over the wire: for the same arguments the same bytes.

        Raises `MailRefused` (permanent) when an address cannot be one.
        """
        reply_to = ", ".join(_envelope(address) for address in letter.reply_to)
        with self._app.app_context():
            message = _Message(
                letter,
                sender=self._from,
                recipient=_envelope(recipient),
                message_id=header_text(message_id),
                reply_to=reply_to,
                files=attachments,
            )
            return message.as_bytes()

    def connect(self) -> int | None:
        """Have a connection ready for the next mail; return the largest that the server takes.

        None: it does not say. Raises `MailRefused` (never permanent), `MailBusy`, or
        `SettingsError` without a server.
        """
        self._settings.require("smtp_host")
        with self._span("SMTP connect"), self._in_use():
            return self._connection.ready().size_limit

    def send(self, message: bytes, *, recipient: str, before_dot: Callable[[], bool]) -> Accepted:
        """Hand over a mail that `build` made.

        `before_dot` is called once the server has everything but the final dot; it makes durable
        that the dot is about to go out, and says whether it may. What it raises comes through,
        and no mail is sent then.

        Raises `MailRefused`, `MailUnknown`, `MailStopped`, `MailBusy`, or `SettingsError` without
        a server.
        """
        address = _envelope(recipient)
        self._settings.require("smtp_host")
        with self._span("SMTP send", size=len(message)) as span, self._in_use():
            client = self._connection.ready(known=True)
            try:
                code, reply = client.deliver(self._sender, address, message, before_dot)
            except BaseException as exc:
                fault = self._ended(exc, client.phase)
                if fault is None:
                    raise
                raise fault from exc
            self._connection.num_emails += 1
            if 200 <= code <= 299:
                span.note(phase=client.phase, code=code)
                return Accepted(code=code, text=_readable(reply))
            if 400 <= code <= 599:
                raise _refusal(code, reply, client.phase)
            # Neither yes nor no.
            self._connection.drop()
            raise MailUnknown

    @contextlib.contextmanager
    def _span(self, name: str, *, size: int | None = None) -> Iterator[Span]:
        """Make a span of the block. Of an answer its code only: servers repeat addresses."""
        settings = self._settings
        with traces.span(
            name,
            kind="client",
            server=settings.smtp_host,
            port=settings.smtp_port,
            protocol="smtp",
            size=size,
        ) as span:
            try:
                yield span
            except MailRefused as exc:
                span.note(phase=exc.phase, code=exc.code)
                raise
            except MailUnknown:
                span.note(phase="dot")
                raise

    @property
    def phase(self) -> str:
        """How far the mail under way has come, for whoever watches from another thread."""
        client = self._connection.host
        return client.phase if client else "connect"

    @contextlib.contextmanager
    def reserved(self) -> Iterator[None]:
        """Have a place for a connection while inside, where all mailers share a few.

        Raises `MailBusy` when there is none.
        """
        with self._in_use():
            self._connection.reserve()
            yield

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        """Keep the connection from being given back meanwhile; have it given back soon after."""
        if self._rest:
            self._rest.cancel()
            self._rest = None
        with self._using:
            try:
                yield
            finally:
                if self._place and self._place.taken:
                    self._rest = rest = threading.Timer(self._idle, lambda: self._give_back(rest))
                    rest.daemon = True
                    rest.start()

    def _give_back(self, rest: threading.Timer) -> None:
        """End a connection that has been idle, so that another mailer may have one."""
        if self._using.acquire(blocking=False):
            try:
                if self._rest is rest:
                    self._connection.close()
            finally:
                self._using.release()

    def _ended(self, exc: BaseException, phase: str) -> MailError | None:
        """Tidy up after a mail that broke off; return what that means, None for `exc` itself."""
        answered = isinstance(exc, smtplib.SMTPResponseException) and exc.smtp_code > 0
        if not (answered and phase in _BETWEEN_LINES):
            # A late answer would be taken for that to the next command. And nothing polite: in
            # the middle of a mail, QUIT would be a line of its text.
            self._connection.drop()
        if phase == "mark":
            return None
        if phase == "dot":
            # Whatever happened, be it a time limit of Celery: the answer may be on its way.
            return MailUnknown() if isinstance(exc, Exception) else None
        return _told(exc, phase)

    def check(self) -> str:
        """Connect, sign in, and say in a sentence what was found, without sending anything.

        Raises `MailError`, or `SettingsError` without a server.
        """
        settings = self._settings.require("smtp_host")
        self._connection.close()
        client = self._connection.configure_host()
        cipher = client.sock.version() if isinstance(client.sock, ssl.SSLSocket) else None
        try:
            _expect(client.noop())
        except OSError as exc:
            raise (_told(exc, "ehlo") or exc) from exc
        finally:
            with contextlib.suppress(OSError):
                client.quit()
            client.close()
        encrypted = f"encrypted with {cipher}" if cipher else "not encrypted"
        signed_in = f"signed in as {settings.smtp_user}" if settings.smtp_user else "not signed in"
        return (
            f"The mail server {settings.smtp_host}:{settings.smtp_port} answers, "
            f"{encrypted}, {signed_in}."
        )

    def close(self) -> None:
        """End the connection; the next mail opens another."""
        if self._rest:
            self._rest.cancel()
        with self._using:
            self._connection.close()
            if self._place:
                self._place.close()


# --- the message ---------------------------------------------------------------------------


#: Headers are written as they are given, folded at spaces only. Newer policies of `email` decode
#: what looks encoded, and so can turn a harmless subject into a line break.
_WIRE = Compat32(linesep="\r\n")

#: Quoted-printable, so that no line is too long and no server has to know eight bits.
_TEXT = Charset("utf-8")
_TEXT.body_encoding = QP

_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]+", re.ASCII)


class _Message(flask_mail.Message):
    """A message of Flask-Mail, but for three things.

    It is the same bytes every time; pictures stand beside the HTML that shows them
    (multipart/related); and Reply-To may hold several addresses.
    """

    def __init__(
        self,
        letter: Letter,
        *,
        sender: str,
        recipient: str,
        message_id: str,
        reply_to: str,
        files: Sequence[Attachment],
    ) -> None:
        # Auto-Submitted (RFC 3834) and its Microsoft twin keep absence notes from answering.
        headers = {"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All"}
        super().__init__(
            subject=_encoded(letter.subject),
            sender=sender,
            body=letter.text,
            html=letter.html,
            attachments=[_file(file) for file in files if not file.content_id],
            extra_headers={"Reply-To": _raw(reply_to), **headers} if reply_to else headers,
        )
        self.msgId = message_id
        # Flask-Mail would encode what is encoded, take no address outside ASCII, and date by the
        # zone of this machine.
        self._exact = {
            "From": sender,
            "To": _raw(recipient),
            "Date": format_datetime(letter.date),
        }
        self._pictures = [file for file in files if file.content_id]
        if letter.logo:
            self._pictures.append(_logo(letter.logo))

    def _mimetext(self, text: str | None, subtype: str = "plain") -> Any:
        body = MIMEText(text or "", subtype, _TEXT)  # type: ignore[arg-type]  # a Charset will do
        if subtype != "html" or not self._pictures:
            return body
        related = MIMEMultipart("related", type="text/html")
        related.attach(body)
        for picture in self._pictures:
            related.attach(_shown(picture))
        return related

    def _message(self) -> MIMEBase:
        message = super()._message()
        message.policy = _WIRE
        for name, value in self._exact.items():
            message.replace_header(name, value)
        multiparts = (part for part in message.walk() if part.is_multipart())
        for number, part in enumerate(multiparts):
            # "=_" occurs neither in base64 nor in quoted-printable, so never in a part.
            part.set_boundary(f"=_broadsheet_{number}_=")
        return message


def _file(file: Attachment) -> flask_mail.Attachment:
    return flask_mail.Attachment(
        content_type=_media_type(file.media_type),
        data=file.content,
        headers={"Content-Disposition": f"attachment; {_file_name(file.name)}"},
        # Without a file name Flask-Mail leaves the disposition to `headers`.
        filename=None,
    )


def _shown(picture: Attachment) -> MIMEBase:
    part = MIMEBase(*_media_type(picture.media_type).split("/"))
    part.set_payload(picture.content)
    encode_base64(part)
    part["Content-Disposition"] = f"inline; {_file_name(picture.name)}"
    part["Content-ID"] = f"<{header_text(picture.content_id or '')}>"
    return part


def _logo(data_url: str) -> Attachment:
    head, _, content = data_url.partition(";base64,")
    media_type = head.removeprefix("data:")
    return Attachment(
        name=f"logo.{media_type.rpartition('/')[2]}",
        media_type=media_type,
        content=b64decode(content),
        content_id=LOGO,
    )


def _media_type(text: str) -> str:
    return text if _TYPE.fullmatch(text) else "application/octet-stream"


def _file_name(name: str) -> str:
    """Return the parameter of a Content-Disposition, by RFC 2231 where ASCII is not enough."""
    # Some readers decode words (RFC 2047) here as well, and so would find a line break in them.
    name = re.sub(r"[/\\]|=\?", "-", header_text(name)) or "file"
    while len(name.encode()) > 200:  # encoded three times as long, and a line may have 998
        stem, dot, suffix = name.rpartition(".")
        name = f"{stem[:-1]}.{suffix}" if dot and len(stem) > len(suffix) else name[:-1]
    if name.isascii() and '"' not in name:
        return f'filename="{name}"'
    return f"filename*={encode_rfc2231(name, 'utf-8')}"


def _encoded(text: str) -> str:
    """Return `text` for a header: as it is, or as encoded words where that would be misread."""
    text = header_text(text)
    longest = max((len(word) for word in text.split()), default=0)
    if text.isascii() and "=?" not in text and longest < 70:
        return text
    # Short enough to stand on one line with the header's name.
    return Header(text, "utf-8", maxlinelen=66).encode().replace("\n", "")


def _raw(address: str) -> str:
    """Return `address` so that `email` writes it in UTF-8 (RFC 6532), not as an encoded word."""
    return address.encode().decode("ascii", "surrogateescape")


#: Without quoted parts and comments, which nobody has and some readers take apart differently.
_ADDRESS = re.compile(r'([^\s<>()\[\]\\,;:"@]+)@([^\s<>()\[\]\\,;:"@]+)')


def _envelope(address: str) -> str:
    """Return the address as a mail server takes it: a domain of any script in its ASCII form.

    Raises `MailRefused` (permanent).
    """
    found = _ADDRESS.fullmatch(address)
    try:
        if found is None or header_text(address) != address:
            raise ValueError(address)
        local, domain = found.groups()
        if not domain.isascii():
            domain = idna.encode(domain, uts46=True).decode()
    except ValueError as exc:
        shown = header_text(address)[:100]
        raise MailRefused(
            f'"{shown}" is not an e-mail address.', phase="address", permanent=True
        ) from exc
    else:
        return f"{local}@{domain}"


# --- the conversation ----------------------------------------------------------------------


class _Client(smtplib.SMTP):
    """smtplib's client that knows in which phase of a mail it is, and stops before the dot.

    Phases: ready, mail, rcpt, data, body, mark (while `before_dot` runs), dot.
    """

    phase = "connect"
    reply_timeout = REPLY_TIMEOUT
    before_dot: Callable[[], bool] | None = None

    def deliver(
        self, sender: str, recipient: str, message: bytes, before_dot: Callable[[], bool]
    ) -> tuple[int, bytes]:
        """Run one mail through its phases; return the answer to the dot.

        Raises `SMTPResponseException` for any earlier answer that ends it.
        """
        self.before_dot = before_dot
        self.phase = "mail"
        _expect(self.mail(sender, self._options(recipient, message)))
        self.phase = "rcpt"
        _expect(self.rcpt(recipient))
        return self.data(message)

    @property
    def size_limit(self) -> int | None:
        """The largest mail that the server takes, as it said (RFC 1870); None: it did not."""
        said = str(self.esmtp_features.get("size", "")).strip()
        # A server's number may be anything; what fits no database is no limit either.
        limit = int(said) if said.isascii() and said.isdecimal() and len(said) < 19 else 0
        return limit or None

    def _options(self, recipient: str, message: bytes) -> list[str]:
        options = []
        if self.has_extn("size"):
            limit = self.size_limit
            if limit is not None and limit < len(message):
                raise smtplib.SMTPResponseException(
                    552, f"5.3.4 the mail has {len(message)} bytes, the server takes {limit}"
                )
            options.append(f"SIZE={len(message)}")
        if not (message.isascii() and recipient.isascii()):
            if not self.has_extn("smtputf8"):
                raise smtplib.SMTPResponseException(
                    553, "5.6.7 the server takes no address outside ASCII (no SMTPUTF8)"
                )
            options += ["SMTPUTF8", "BODY=8BITMIME"]
        return options

    def data(self, msg: Any) -> tuple[int, bytes]:
        """Send the text of the mail, and its dot when `before_dot` says so."""
        assert self.before_dot is not None and self.sock is not None  # noqa: S101, PT018 - data() is only called by send(), which set them
        self.phase = "data"
        code, reply = self.docmd("DATA")
        if code != 354:
            raise smtplib.SMTPDataError(code, reply)
        self.phase = "body"
        body = memoryview(_stuffed(msg))
        for start in range(0, len(body), PIECE):
            self.send(body[start : start + PIECE])
        self._expect_silence()
        self.phase = "mark"
        if not self.before_dot():
            raise MailStopped
        self.phase = "dot"
        self.sock.settimeout(self.reply_timeout)
        self.send(b".\r\n")
        code, reply = self.getreply()
        self.sock.settimeout(self.timeout)
        return code, reply

    def _expect_silence(self) -> None:
        """Raise if the server has already answered or hung up, as it must not before the dot.

        It only looks at what has arrived: a connection that breaks later than this still leaves
        the mail `unknown`, but the many that broke before do not.
        """
        assert self.sock is not None and self.file is not None  # noqa: S101, PT018 - only called while connected
        self.sock.settimeout(0)
        try:
            arrived = self.file.peek(1)
        except ssl.SSLWantReadError:
            return  # nothing, or a record of TLS's own
        finally:
            self.sock.settimeout(self.timeout)
        if arrived:
            raise smtplib.SMTPResponseException(*self.getreply())
        with selectors.DefaultSelector() as selector:
            selector.register(self.sock, selectors.EVENT_READ)
            if selector.select(0):  # readable, and nothing to read: the end
                raise smtplib.SMTPServerDisconnected("hung up before the end of the mail")


class _TLSClient(_Client, smtplib.SMTP_SSL):
    """The same, encrypted from the first byte."""


class _Connection(flask_mail.Connection):
    """Flask-Mail's connection with timeouts, checked certificates, and a check before reuse."""

    host: _Client | None

    def __init__(
        self, mail: Any, settings: Settings, reply_timeout: float, place: MailPlace | None
    ) -> None:
        super().__init__(mail)
        self.host = None
        self._place = place
        self._timeout = settings.smtp_timeout
        self._authorities = settings.smtp_ca
        self._reply_timeout = reply_timeout

    def ready(self, *, known: bool = False) -> _Client:
        """Return a client that is signed in and between two mails.

        `known`: it need not be asked if it is, where that was done a moment ago. Raises
        `MailRefused`, and `MailBusy` where there is no place for a connection.
        """
        if self.host and self.num_emails >= self.mail.max_emails:
            self.close()
        if self.host and known and self.host.phase == "ready":
            return self.host
        if self.host and self._allowed() and self._answers():
            self.host.phase = "ready"
            return self.host
        if self.host:
            self.drop()
        self.reserve()
        try:
            self.host = self.configure_host()
        finally:
            if self.host is None:
                self.drop()
        self.num_emails = 0
        return self.host

    def reserve(self) -> None:
        """Have a place for a connection, if one is needed. Raises `MailBusy`."""
        if self._place and not self._place.take(PATIENCE):
            raise MailBusy

    def _allowed(self) -> bool:
        """Whether the place is still ours; with its session it may have gone to another."""
        return self._place is None or self._place.held()

    def configure_host(self) -> _Client:
        """Connect, encrypt, sign in. Raises `MailRefused`, never permanent: no mail is at fault."""
        mail = self.mail
        phase = "connect"
        client: _Client | None = None
        try:
            client = self._open()
            phase = "ehlo"
            client.ehlo_or_helo_if_needed()
            if mail.use_tls:
                phase = "tls"
                client.starttls(context=self._tls())
                client.ehlo_or_helo_if_needed()
            if mail.username:
                phase = "auth"
                client.login(mail.username, mail.password)
        except BaseException as exc:
            if client:
                client.close()
            fault = _told(exc, phase)
            if fault is None:
                raise
            raise fault from exc
        client.phase = "ready"
        client.timeout = self._timeout
        assert client.sock is not None  # noqa: S101 - it has just answered
        client.sock.settimeout(self._timeout)
        return client

    def _tls(self) -> ssl.SSLContext:
        """Return what checks certificate and host name, against the settings' authorities too."""
        context = ssl.create_default_context()
        if self._authorities:
            context.load_verify_locations(cadata=self._authorities)
        return context

    def _open(self) -> _Client:
        arguments: dict[str, Any] = {
            "host": self.mail.server,
            "port": self.mail.port,
            # Given so that smtplib does not ask the resolver for this machine's name.
            "local_hostname": "localhost",
            "timeout": min(GREETING, self._timeout),
        }
        if self.mail.use_ssl:
            client: _Client = _TLSClient(**arguments, context=self._tls())
        else:
            client = _Client(**arguments)
        client.local_hostname = _own_name(client)
        client.reply_timeout = self._reply_timeout
        return client

    def _answers(self) -> bool:
        """Whether the server still listens; RSET also clears what a refused mail left.

        Not waited for as long as a mail is: a new connection tells more than an old one that
        is silent.
        """
        if self.host is None or self.host.sock is None:
            return False
        try:
            self.host.sock.settimeout(min(STILL_THERE, self._timeout))
            answered = self.host.rset()[0] == 250
            self.host.sock.settimeout(self._timeout)
        except OSError:  # all of smtplib's errors are
            return False
        return answered

    def drop(self) -> None:
        """Hang up, whatever the server is waiting for."""
        if self.host:
            self.host.close()
        self.host = None
        if self._place:
            self._place.give_back()

    def close(self) -> None:
        """Hang up with QUIT, if the server still listens."""
        if self.host and self.host.sock:
            with contextlib.suppress(OSError):  # gone already, which is what was wanted
                self.host.sock.settimeout(min(FAREWELL, self._timeout))
                self.host.quit()
        self.drop()


def _own_name(client: smtplib.SMTP) -> str:
    """Return the name for EHLO: this machine's, or its address where that is not a full one."""
    name = socket.gethostname()
    if "." in name and name.isascii():
        return name
    assert client.sock is not None  # noqa: S101 - it has just connected
    address = client.sock.getsockname()[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _expect(reply: tuple[int, bytes]) -> None:
    if not 200 <= reply[0] <= 299:
        raise smtplib.SMTPResponseException(*reply)


def _stuffed(message: bytes) -> bytes:
    """Return the mail with network line ends, leading dots doubled, and a line end at last."""
    lines = re.sub(rb"\r\n|\r|\n", b"\r\n", message)
    doubled = re.sub(rb"(?m)^\.", b"..", lines)
    return doubled if doubled.endswith(b"\r\n") else doubled + b"\r\n"


# --- what an answer means ------------------------------------------------------------------


_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})\b")

#: What servers with a limit say when it is reached.
_THROTTLING = re.compile(
    r"throttl|rate[- ]limit|(?:sending|message) rate|too many (?:messages|connections|e?-?mails)",
    re.IGNORECASE,
)

#: The server wants a sign-in or TLS, or does not take ours: no mail's fault, and every mail's.
_SIGN_IN = frozenset({530, 534, 535, 538})

#: In these there is no connection yet, or none for us.
_BEFORE_MAIL = frozenset({"connect", "ehlo", "tls", "auth"})

#: Before these the server has heard nothing of this mail.
_OF_THE_MAIL = frozenset({"mail", "rcpt", "data", "body", "dot"})

#: In these the connection can go on after an answer: the server expects a command.
_BETWEEN_LINES = frozenset({"mail", "rcpt", "data"})

_WHERE = "check BROADSHEET_SMTP_HOST and BROADSHEET_SMTP_PORT"
_HOW = "check BROADSHEET_SMTP_SECURITY"
_WHO = "check BROADSHEET_SMTP_USER and BROADSHEET_SMTP_PASSWORD"
_SIZE = "the mail server refused the mail for its size; lower BROADSHEET_MAX_ATTACHMENT_SIZE_MB"
_ADVICE = {
    "connect": _WHERE,
    "ehlo": _WHERE,
    "tls": _HOW,
    "auth": _WHO,
    "mail": "check BROADSHEET_SMTP_FROM",
}


def _told(exc: BaseException, phase: str) -> MailRefused | None:
    """Translate an error from before the dot; None: it has nothing to do with the server."""
    if isinstance(exc, smtplib.SMTPResponseException):
        return _refusal(exc.smtp_code, exc.smtp_error, phase)
    if isinstance(exc, UnicodeError):
        return MailRefused(
            f"The mail server takes ASCII only here; {_ADVICE.get(phase, _WHO)}.",
            phase=phase,
            configuration=True,
        )
    if isinstance(exc, OSError):  # as all other errors of smtplib are
        return _unreachable(exc, phase)
    return None


def _refusal(code: int, reply: bytes | str, phase: str) -> MailRefused:
    """Tell what a server's "no" means. The enhanced code decides where the two contradict."""
    text = _readable(reply)
    found = _ENHANCED.match(text)
    kind = found[1] if found else str(code)[:1]
    detail = f"{found[2]}.{found[3]}" if found else ""
    early = phase not in _OF_THE_MAIL
    sign_in = code in _SIGN_IN
    too_large = detail in ("3.4", "2.3") or (code == 552 and not detail)
    throttled = kind == "4" and not early and _is_throttling(code, text, phase)
    if sign_in:
        advice = _HOW if "TLS" in text.upper() else _WHO
    elif too_large:
        advice = _SIZE
    elif kind == "5" and detail != "6.7":
        advice = _ADVICE.get(phase, "")
    else:
        advice = ""
    return MailRefused(
        f"{text} ({advice})" if advice else text,
        phase=phase,
        code=code if code > 0 else None,
        permanent=kind == "5" and not sign_in and not early,
        configuration=sign_in or (early and kind == "5"),
        too_large=too_large,
        throttled=throttled,
    )


def _is_throttling(code: int, text: str, phase: str) -> bool:
    """Whether a "not now" is meant for all mails: by its words, or because it comes so late.

    Once it has taken sender and recipient, a server that says 421 or 454 means the connection,
    not the mail; earlier it may mean a recipient.
    """
    return bool(_THROTTLING.search(text)) or (
        code in (421, 454) and phase in ("data", "body", "dot")
    )


def _unreachable(exc: OSError, phase: str) -> MailRefused:
    """Tell of a connection that failed before the dot, so before the mail was accepted."""
    advice = _ADVICE.get(phase, "")
    configuration = False
    if isinstance(exc, ssl.SSLCertVerificationError):
        problem = f"shows a certificate that is not trusted: {exc.verify_message}"
        advice = (
            "make its authority known with BROADSHEET_SMTP_CA_FILE, or use the name it is made for"
        )
        configuration = True
    elif isinstance(exc, ssl.SSLError):
        problem, advice = "does not speak TLS here", _HOW
        configuration = True
    elif isinstance(exc, smtplib.SMTPNotSupportedError):
        problem, configuration = f"cannot do that: {exc}", True
    elif isinstance(exc, smtplib.SMTPServerDisconnected | TimeoutError):
        problem = "hung up or did not answer in time"
    elif isinstance(exc, socket.gaierror):
        problem = "is not known by that name"
    else:
        problem = f"cannot be reached: {exc.strerror or exc}"
    text = f"The mail server {problem} (in phase {phase})"
    return MailRefused(
        f"{text}; {advice}." if advice else f"{text}.", phase=phase, configuration=configuration
    )


def _readable(reply: bytes | str) -> str:
    """Return a server's words as one line of bounded length."""
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    return header_text(text)[:300]
