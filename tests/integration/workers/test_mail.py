from __future__ import annotations

import dataclasses
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Self

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.inbox import DROP, SILENCE, Inbox
from deploy.local.services import free_port
from shared.errors import SettingsError
from shared.settings import Settings
from workers.mail import (
    Accepted,
    Attachment,
    Mailer,
    MailRefused,
    MailStopped,
    MailUnknown,
)
from workers.messages import Letter, header_text

LETTER = Letter(
    subject="Weekly",
    text="Hi,\n.\n.. dots\nGrüße\n",
    html='<p>Hi <img src="cid:image2@broadsheet"></p>\n',
    reply_to=(),
    date=datetime(2026, 1, 5, 8, tzinfo=UTC),
    attachments=(1,),
    images=(("image2@broadsheet", 2),),
)
PDF = Attachment(name="Weekly.pdf", media_type="application/pdf", content=b"%PDF-1.7\r\n.\r\n\x00")
PICTURE = Attachment(
    name="Sales.png", media_type="image/png", content=b"\x89PNG", content_id="image2@broadsheet"
)
RECIPIENT = "ann@example.org"


def settings(port: int, **fields: Any) -> Settings:
    return Settings(
        **{
            "database_url": "postgresql://unused",
            "redis_url": "redis://unused",
            "smtp_host": "127.0.0.1",
            "smtp_port": port,
            "smtp_from": "Reports <reports@example.org>",
            "smtp_timeout": 10.0,
            **fields,
        }
    )


def build(mailer: Mailer, letter: Letter = LETTER, recipient: str = RECIPIENT) -> bytes:
    return mailer.build(
        letter, recipient=recipient, message_id="<r1.abc@example.org>", attachments=[PDF, PICTURE]
    )


def yes() -> bool:
    return True


def send(
    mailer: Mailer, recipient: str = RECIPIENT, before_dot: Callable[[], bool] = yes
) -> Accepted:
    message = build(mailer, recipient=recipient)
    return mailer.send(message, recipient=recipient, before_dot=before_dot)


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    with Inbox(tmp_path / "inbox") as inbox:
        yield inbox


@pytest.fixture
def mailer(inbox: Inbox) -> Iterator[Mailer]:
    mailer = Mailer(settings(inbox.port))
    yield mailer
    mailer.close()


@pytest.fixture(scope="module")
def builder() -> Mailer:
    return Mailer(settings(1))


# -- building -------------------------------------------------------------------------------


def parsed(message: bytes) -> EmailMessage:
    made = message_from_bytes(message, policy=policy.default)
    assert isinstance(made, EmailMessage)
    return made


def test_a_mail_is_built_of_text_html_its_pictures_and_files(builder: Mailer) -> None:
    mail = parsed(build(builder, dataclasses.replace(LETTER, reply_to=("a@b.org", "c@d.org"))))
    assert [part.get_content_type() for part in mail.walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
        "application/pdf",
    ]
    *_, picture, file = mail.walk()
    assert mail["From"] == "Reports <reports@example.org>"
    assert mail["To"] == RECIPIENT
    assert mail["Reply-To"] == "a@b.org, c@d.org"
    assert mail["Message-ID"] == "<r1.abc@example.org>"
    assert mail["Date"] == "Mon, 05 Jan 2026 08:00:00 +0000"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert picture["Content-ID"] == "<image2@broadsheet>"
    assert picture.get_content_disposition() == "inline"
    assert file.get_filename() == "Weekly.pdf"
    assert file.get_payload(decode=True) == PDF.content
    body = mail.get_body(("plain",))
    assert body and body.get_content().replace("\r\n", "\n") == LETTER.text


def test_a_mail_is_the_same_bytes_every_time_and_on_every_machine(
    builder: Mailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build(builder)
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        second = build(Mailer(settings(2)))
    time.tzset()
    assert first == second


def test_a_logo_travels_inside_the_mail(builder: Mailer) -> None:
    logo = dataclasses.replace(LETTER, logo="data:image/gif;base64,R0lGODlh")
    [part] = [
        part
        for part in parsed(build(builder, logo)).walk()
        if part["Content-ID"] == "<logo@broadsheet>"
    ]
    assert part.get_content_type() == "image/gif"
    assert part.get_payload(decode=True) == b"GIF89a"


def test_every_line_is_short_enough_and_ascii(builder: Mailer) -> None:
    letter = dataclasses.replace(LETTER, subject="x" * 3000, text="ü" * 3000, html="y" * 3000)
    message = build(builder, letter)
    assert message.isascii()
    assert max(len(line) for line in message.split(b"\r\n")) <= 998
    assert b"\n" not in message.replace(b"\r\n", b"")
    assert parsed(message)["Subject"] == "x" * 3000


@pytest.mark.parametrize(
    "evil",
    [
        "a\r\nBcc: evil@example.org",
        "a\nBcc: evil@example.org",
        "a\r\n\r\nbody",
        "a\x0bBcc: x",
        "a\u2028Bcc: x",
        "=?utf-8?q?a=0D=0ABcc:_evil@example.org?= " + "long " * 30,
    ],
)
def test_no_text_can_add_a_header(builder: Mailer, evil: str) -> None:
    message = builder.build(
        dataclasses.replace(LETTER, subject=evil),
        recipient=RECIPIENT,
        message_id=evil,
        attachments=[
            dataclasses.replace(PDF, name=evil, media_type=evil),
            dataclasses.replace(PICTURE, name=evil, content_id=evil),
        ],
    )
    for part in parsed(message).walk():
        assert "Bcc" not in part
    assert b"\r\nBcc" not in message
    assert b"\r\n\r\nbody" not in message


@given(st.text(max_size=300))
def test_a_subject_arrives_as_it_was_written(subject: str) -> None:
    message = build(Mailer(settings(1)), dataclasses.replace(LETTER, subject=subject))
    raw = message_from_bytes(message)["Subject"] or ""
    assert " ".join(str(make_header(decode_header(raw))).split()) == header_text(subject)


@pytest.mark.parametrize(
    "name",
    [
        "Weekly-2026.pdf",
        "Größe – März.pdf",
        "売上.pdf",
        'a "b".pdf',
        "one two.pdf",
        "𠮷" * 40 + ".pdf",
    ],
)
def test_a_file_keeps_its_name_in_any_script(builder: Mailer, name: str) -> None:
    message = builder.build(
        LETTER,
        recipient=RECIPIENT,
        message_id="<a@b>",
        attachments=[dataclasses.replace(PDF, name=name)],
    )
    *_, file = parsed(message).walk()
    assert file.get_filename() == name
    assert max(len(line) for line in message.split(b"\r\n")) <= 998


def test_a_file_name_that_is_far_too_long_keeps_its_suffix(builder: Mailer) -> None:
    message = builder.build(
        LETTER,
        recipient=RECIPIENT,
        message_id="<a@b>",
        attachments=[dataclasses.replace(PDF, name="ü" * 500 + ".pdf")],
    )
    *_, file = parsed(message).walk()
    assert file.get_filename() == "ü" * 98 + ".pdf"


@pytest.mark.parametrize(
    "sender", ['"Büro, Nord" <reports@example.org>', '"Reports, Inc." <reports@example.org>']
)
def test_the_sender_may_have_any_name(sender: str) -> None:
    mail = parsed(build(Mailer(settings(1, smtp_from=sender))))
    [address] = mail["From"].addresses
    assert address.addr_spec == "reports@example.org"
    assert address.display_name in sender


@pytest.mark.parametrize("sender", ["nobody", "Reports <a b@c>", "jürgen@example.org"])
def test_a_sender_that_is_no_address_stops_the_start(sender: str) -> None:
    with pytest.raises(SettingsError, match="BROADSHEET_SMTP_FROM"):
        Mailer(settings(1, smtp_from=sender))


# -- handing over ---------------------------------------------------------------------------


def test_a_mail_arrives_byte_for_byte(inbox: Inbox, mailer: Mailer) -> None:
    assert send(mailer) == Accepted(code=250, text="2.0.0 Kept")
    [received] = inbox.messages
    assert received.content == build(mailer)
    assert (received.sender, received.recipients) == ("reports@example.org", (RECIPIENT,))


def test_the_word_to_go_on_is_asked_for_before_the_mail_is_complete(
    inbox: Inbox, mailer: Mailer
) -> None:
    seen = []
    send(mailer, before_dot=lambda: not seen.append(len(inbox.messages)))
    assert seen == [0]
    assert len(inbox.messages) == 1


def test_without_that_word_nothing_is_sent_and_the_next_mail_is(
    inbox: Inbox, mailer: Mailer
) -> None:
    with pytest.raises(MailStopped):
        send(mailer, before_dot=lambda: False)
    send(mailer)
    assert len(inbox.messages) == 1


def test_an_error_in_that_word_comes_through_and_nothing_is_sent(
    inbox: Inbox, mailer: Mailer
) -> None:
    def broken() -> bool:
        raise ConnectionResetError("the database")

    with pytest.raises(ConnectionResetError, match="the database"):
        send(mailer, before_dot=broken)
    send(mailer)
    assert len(inbox.messages) == 1


def test_mails_share_a_connection_up_to_a_limit(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.mail.MAILS_PER_CONNECTION", 3)
    mailer = Mailer(settings(inbox.port))
    shared = [(send(mailer), inbox.connections)[1] for _ in range(4)]
    mailer.close()
    assert shared == [1, 1, 1, 2]


def test_a_refused_recipient_does_not_cost_the_connection(inbox: Inbox, mailer: Mailer) -> None:
    inbox.refusals["bob@example.org"] = "550 5.1.1 No such user"
    with pytest.raises(MailRefused, match=r"550 5\.1\.1 No such user") as refused:
        send(mailer, "bob@example.org")
    assert (refused.value.code, refused.value.permanent, refused.value.phase) == (550, True, "rcpt")
    send(mailer)
    assert inbox.connections == 1


def test_a_connection_that_died_meanwhile_is_opened_again(tmp_path: Path) -> None:
    with Inbox(tmp_path) as first:
        mailer = Mailer(settings(first.port))
        send(mailer)
    with Inbox(tmp_path, first.port) as second:
        send(mailer)
        assert len(second.messages) == 2
        mailer.close()


def test_a_server_that_knows_only_helo_will_do(inbox: Inbox, mailer: Mailer) -> None:
    inbox.faults["ehlo"] = "502 5.5.1 What?"
    assert send(mailer).code == 250


@pytest.mark.parametrize(
    ("moment", "answer", "permanent"),
    [
        ("connect", "554 5.3.2 No mail service here", False),
        ("connect", "421 4.3.2 Too many connections", False),
        ("mail", "421 4.3.2 Going down", False),
        ("mail", "451 4.3.0 Try again later", False),
        ("mail", "550 5.7.1 Sender not allowed", True),
        ("rcpt", "450 4.2.1 Greylisted", False),
        ("rcpt", "452 4.5.3 Too many recipients", False),
        ("rcpt", "550 5.1.1 No such user", True),
        ("rcpt", "551 User not local", True),
        ("rcpt", "553 5.1.3 Bad address", True),
        ("rcpt", "554 5.7.1 Relay access denied", True),
        ("rcpt", "451 4.7.1 Greylisting in action", False),
        ("rcpt", "452 4.2.2 Mailbox full", False),
        ("rcpt", "550 4.7.1 Not now", False),
        ("rcpt", "450 5.1.1 Never", True),
        ("data", "454 4.7.0 Throttling failure: Maximum sending rate exceeded", False),
        ("data", "554 5.5.1 No valid recipients", True),
        ("dot", "421 4.3.2 Going down", False),
        ("dot", "451 4.3.0 Try again later", False),
        ("dot", "454 4.3.0 Try again later", False),
        ("dot", "452 4.3.1 Insufficient system storage", False),
        ("dot", "550 4.3.0 The enhanced code decides", False),
        ("dot", "451 5.7.1 The enhanced code decides", True),
        ("dot", "554 5.7.1 Looks like spam", True),
        ("dot", "552 5.2.2 Mailbox full", True),
    ],
)
def test_a_refusal_says_how_far_the_mail_came_and_whether_to_try_again(
    inbox: Inbox, mailer: Mailer, moment: str, answer: str, permanent: bool
) -> None:
    inbox.faults[moment] = answer
    with pytest.raises(MailRefused) as refused:
        send(mailer)
    error = refused.value
    assert (error.code, error.permanent, error.phase) == (int(answer[:3]), permanent, moment)
    assert error.text.startswith(answer[4:])
    assert not error.too_large
    assert not inbox.messages
    inbox.faults.clear()
    assert send(mailer).code == 250


@pytest.mark.parametrize(
    ("moment", "answer", "throttled"),
    [
        ("dot", "454 4.7.0 Throttling failure: Maximum sending rate exceeded.", True),
        ("data", "454 4.7.0 Throttling failure: Daily message quota exceeded.", True),
        ("dot", "421 4.7.0 Try again later", True),
        ("data", "421 4.4.2 Closing", True),
        ("mail", "450 4.7.1 Too many messages from you", True),
        ("rcpt", "450 4.2.1 Greylisted", False),
        ("rcpt", "421 4.7.0 Greylisted, and goodbye", False),
        ("dot", "451 4.3.0 Try again later", False),
        ("dot", "554 5.7.0 Too many messages, for good", False),
        ("connect", "421 4.7.0 Too many connections", False),
    ],
)
def test_a_server_that_asks_for_fewer_mails_is_told_from_one_that_refuses_this_one(
    inbox: Inbox, mailer: Mailer, moment: str, answer: str, throttled: bool
) -> None:
    inbox.faults[moment] = answer
    with pytest.raises(MailRefused) as refused:
        send(mailer)
    assert refused.value.throttled == throttled


@pytest.mark.parametrize("answer", ["530 5.7.0 a", "534 5.7.9 b", "535 5.7.8 c", "538 5.7.11 d"])
def test_what_only_settings_will_mend_is_the_servers_matter_wherever_it_is_said(
    inbox: Inbox, mailer: Mailer, answer: str
) -> None:
    inbox.faults["mail"] = answer
    with pytest.raises(MailRefused) as refused:
        send(mailer)
    assert (refused.value.configuration, refused.value.of_the_server) == (True, True)
    assert not refused.value.permanent


@pytest.mark.parametrize(
    ("moment", "of_the_server"),
    [("connect", True), ("ehlo", True), ("mail", False), ("rcpt", False), ("data", False)],
)
def test_a_connection_that_broke_before_a_mail_was_begun_is_the_servers_matter(
    inbox: Inbox, mailer: Mailer, moment: str, of_the_server: bool
) -> None:
    inbox.faults[moment] = DROP
    with pytest.raises(MailRefused) as refused:
        send(mailer)
    assert (refused.value.of_the_server, refused.value.heard) == (of_the_server, False)


def test_connecting_says_how_large_a_mail_the_server_takes(tmp_path: Path) -> None:
    with Inbox(tmp_path, size_limit=12_345) as inbox:
        mailer = Mailer(settings(inbox.port))
        assert mailer.connect() == 12_345
        send(mailer)
        assert mailer.connect() == 12_345
        mailer.close()
        assert inbox.connections == 1


@pytest.mark.parametrize("said", ["SIZE 0", "SIZE", "SIZE lots", "SIZE -1", "8BITMIME", "SIZE ²"])
def test_a_server_that_says_no_size_has_no_limit(inbox: Inbox, mailer: Mailer, said: str) -> None:
    inbox.faults["ehlo"] = f"250-mail.example\r\n250 {said}"
    assert mailer.connect() is None


def test_a_connection_that_died_before_the_mail_was_begun_is_tried_again_later(
    tmp_path: Path,
) -> None:
    with Inbox(tmp_path) as first:
        mailer = Mailer(settings(first.port))
        mailer.connect()
    with pytest.raises(MailRefused) as refused:
        send(mailer)
    assert (refused.value.permanent, refused.value.phase) == (False, "mail")


@pytest.mark.parametrize("answer", ["552 5.3.4 Too big", "552 Too big", "550 5.2.3 Too long"])
def test_a_mail_refused_for_its_size_says_so(inbox: Inbox, mailer: Mailer, answer: str) -> None:
    inbox.faults["dot"] = answer
    with pytest.raises(MailRefused) as refused:
        send(mailer)
    assert refused.value.too_large
    assert refused.value.permanent
    assert refused.value.message == (
        f"{answer} (the mail server refused the mail for its size; "
        "lower BROADSHEET_MAX_ATTACHMENT_SIZE_MB)"
    )


def test_a_mail_larger_than_the_server_takes_is_not_even_begun(tmp_path: Path) -> None:
    with Inbox(tmp_path, size_limit=500) as inbox:
        mailer = Mailer(settings(inbox.port))
        with pytest.raises(MailRefused, match="the server takes 500") as refused:
            send(mailer)
        mailer.close()
    assert (refused.value.code, refused.value.too_large) == (552, True)


@pytest.mark.parametrize("moment", ["connect", "mail", "rcpt", "data"])
def test_a_connection_that_breaks_before_the_text_is_safe_to_repeat(
    inbox: Inbox, mailer: Mailer, moment: str
) -> None:
    inbox.faults[moment] = DROP
    with pytest.raises(MailRefused) as refused:
        send(mailer, before_dot=lambda: pytest.fail("too early"))
    assert (refused.value.code, refused.value.permanent, refused.value.phase) == (
        None,
        False,
        moment,
    )
    inbox.faults.clear()
    assert send(mailer).code == 250


def test_a_connection_that_breaks_in_the_text_is_safe_to_repeat(
    inbox: Inbox, mailer: Mailer
) -> None:
    inbox.faults["body"] = DROP
    # More than any buffer between the two takes, so that the break is noticed while sending.
    message = (b"x" * 998 + b"\r\n") * 30_000
    with pytest.raises(MailRefused) as refused:
        mailer.send(message, recipient=RECIPIENT, before_dot=lambda: pytest.fail("too early"))
    assert (refused.value.permanent, refused.value.phase) == (False, "body")


def test_an_answer_that_comes_before_the_dot_stops_it(inbox: Inbox, mailer: Mailer) -> None:
    inbox.faults["data"] = "354 Go on\r\n421 4.3.2 Or rather not"
    with pytest.raises(MailRefused) as refused:
        send(mailer, before_dot=lambda: pytest.fail("too late"))
    assert (refused.value.code, refused.value.permanent, refused.value.phase) == (
        421,
        False,
        "body",
    )


def test_no_answer_to_the_dot_leaves_the_mail_unknown(inbox: Inbox, mailer: Mailer) -> None:
    inbox.faults["dot"] = DROP
    with pytest.raises(MailUnknown):
        send(mailer)
    assert len(inbox.messages) == 1  # which is why it must not be sent again
    inbox.faults.clear()
    assert send(mailer).code == 250


@pytest.mark.parametrize("answer", ["354 Go on", "what?"])
def test_an_answer_to_the_dot_that_is_none_leaves_it_unknown(
    inbox: Inbox, mailer: Mailer, answer: str
) -> None:
    inbox.faults["dot"] = answer
    with pytest.raises(MailUnknown):
        send(mailer)


def test_the_dot_has_a_timeout_of_its_own(inbox: Inbox) -> None:
    inbox.faults["dot"] = SILENCE
    mailer = Mailer(settings(inbox.port), reply_timeout=0.2)
    with pytest.raises(MailUnknown):
        send(mailer)


def test_a_slow_answer_to_the_dot_is_waited_for(inbox: Inbox) -> None:
    inbox.gate.clear()
    mailer = Mailer(settings(inbox.port, smtp_timeout=0.3))
    opener = threading.Timer(0.6, inbox.gate.set)
    opener.start()
    assert send(mailer).code == 250
    opener.join()
    mailer.close()


class TimeLimitError(Exception):
    """What Celery's soft time limit does: it comes from nowhere, in any line."""


@contextmanager
def time_limit_after(signs: Callable[[], object]) -> Iterator[None]:
    """Raise `TimeLimitError` in the block once `signs` returns."""

    def strike(*_: object) -> None:
        raise TimeLimitError

    def watch() -> None:
        signs()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, strike)
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)


def test_a_time_limit_that_strikes_after_the_dot_leaves_it_unknown(
    inbox: Inbox, mailer: Mailer
) -> None:
    inbox.gate.clear()
    with pytest.raises(MailUnknown) as unknown, time_limit_after(lambda: inbox.wait_for(1)):
        send(mailer)
    assert isinstance(unknown.value.__cause__, TimeLimitError)


def test_a_time_limit_that_strikes_before_leaves_no_answer_behind_for_the_next_mail(
    inbox: Inbox, mailer: Mailer
) -> None:
    inbox.faults["rcpt"] = SILENCE
    with pytest.raises(TimeLimitError), time_limit_after(lambda: inbox.silent.wait(10)):
        send(mailer)
    inbox.faults.clear()
    assert send(mailer).code == 250
    assert inbox.connections == 2


@pytest.mark.parametrize("moment", ["connect", "mail", "rcpt", "data"])
def test_a_silent_server_is_given_up_before_the_text(inbox: Inbox, moment: str) -> None:
    inbox.faults[moment] = SILENCE
    mailer = Mailer(settings(inbox.port, smtp_timeout=0.2))
    with pytest.raises(MailRefused, match="did not answer in time") as refused:
        send(mailer)
    assert (refused.value.permanent, refused.value.phase) == (False, moment)


def test_a_server_that_does_not_greet_is_given_up_before_one_that_thinks_about_a_mail(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.mail.GREETING", 0.2)
    mailer = Mailer(settings(inbox.port, smtp_timeout=60))
    inbox.faults["connect"] = SILENCE
    with pytest.raises(MailRefused, match="did not answer in time") as refused:
        send(mailer)
    assert refused.value.phase == "connect"
    inbox.faults.clear()
    inbox.gate.clear()
    opener = threading.Timer(0.5, inbox.gate.set)
    opener.start()
    assert send(mailer).code == 250
    opener.join()
    mailer.close()


def test_a_kept_connection_that_fell_silent_is_given_up_before_a_mail_is(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.mail.STILL_THERE", 0.1)
    mailer = Mailer(settings(inbox.port, smtp_timeout=60))
    send(mailer)
    inbox.faults["rset"] = SILENCE
    assert send(mailer).code == 250
    assert inbox.connections == 2
    mailer.close()


def test_a_server_that_is_not_there_names_its_settings() -> None:
    mailer = Mailer(settings(free_port()))
    with pytest.raises(MailRefused, match="check BROADSHEET_SMTP_HOST") as refused:
        send(mailer)
    assert (refused.value.permanent, refused.value.phase) == (False, "connect")


def test_without_a_server_in_the_settings_nothing_is_tried() -> None:
    mailer = Mailer(settings(1, smtp_host=""))
    with pytest.raises(SettingsError, match="BROADSHEET_SMTP_HOST is not set"):
        send(mailer)


# -- addresses ------------------------------------------------------------------------------


def test_a_domain_of_any_script_goes_out_in_its_ascii_form(inbox: Inbox, mailer: Mailer) -> None:
    send(mailer, "ann@bücher-straße.example")
    [received] = inbox.messages
    assert received.recipients == ("ann@xn--bcher-strae-46a18a.example",)
    assert received.message["To"] == "ann@xn--bcher-strae-46a18a.example"


def test_an_address_outside_ascii_needs_a_server_that_takes_it(tmp_path: Path) -> None:
    with Inbox(tmp_path / "a") as able, Inbox(tmp_path / "b", smtputf8=False) as unable:
        first, second = Mailer(settings(able.port)), Mailer(settings(unable.port))
        send(first, "jürgen@example.org")
        with pytest.raises(MailRefused, match="SMTPUTF8") as refused:
            send(second, "jürgen@example.org")
        first.close()
        second.close()
        [received] = able.messages
    assert received.recipients == ("jürgen@example.org",)
    assert "\r\nTo: jürgen@example.org\r\n".encode() in received.content
    assert refused.value.permanent
    assert not unable.messages


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ann",
        "@example.org",
        "a@b@c.org",
        "a b@example.org",
        "a@example.org\r\nRCPT TO:<b@example.org>",
        "a@example.org,b@example.org",
        "Ann <a@example.org>",
        "a@example.org\x00",
        "a@-ü.example",
    ],
)
def test_what_is_no_address_never_reaches_the_server(
    inbox: Inbox, mailer: Mailer, address: str
) -> None:
    for attempt in (
        lambda: build(mailer, recipient=address),
        lambda: mailer.send(b"x", recipient=address, before_dot=yes),
        lambda: build(mailer, dataclasses.replace(LETTER, reply_to=(address,))),
    ):
        with pytest.raises(MailRefused, match="is not an e-mail address") as refused:
            attempt()
        assert refused.value.permanent
    assert inbox.connections == 0


# -- signing in and encryption --------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def certificate(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def _trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))


@pytest.mark.usefixtures("_trusted")
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_mail_travels_encrypted_and_signed_in(
    tmp_path: Path, certificate: ssl.SSLContext, security: str
) -> None:
    with Inbox(
        tmp_path / "inbox",
        user="reports",
        password="s3cret",
        tls=certificate,
        tls_from_start=security == "tls",
    ) as inbox:
        mailer = Mailer(
            settings(
                inbox.port, smtp_security=security, smtp_user="reports", smtp_password="s3cret"
            )
        )
        send(mailer)
        send(mailer)
        sentence = mailer.check()
        assert len(inbox.messages) == 2
    assert sentence == (
        f"The mail server 127.0.0.1:{inbox.port} answers, encrypted with TLSv1.3, "
        "signed in as reports."
    )


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_an_authority_of_ones_own_is_trusted_besides_the_usual_ones(
    tmp_path: Path, authority: trustme.CA, certificate: ssl.SSLContext, security: str
) -> None:
    known = authority.cert_pem.bytes().decode()
    with Inbox(tmp_path, tls=certificate, tls_from_start=security == "tls") as inbox:
        mailer = Mailer(settings(inbox.port, smtp_security=security, smtp_ca=known))
        send(mailer)
        mailer.close()
        assert len(inbox.messages) == 1
        other = trustme.CA().cert_pem.bytes().decode()
        with pytest.raises(MailRefused, match=r"not trusted.*BROADSHEET_SMTP_CA_FILE"):
            send(Mailer(settings(inbox.port, smtp_security=security, smtp_ca=other)))
        assert len(inbox.messages) == 1


@pytest.mark.usefixtures("_trusted")
@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize(
    ("name", "days", "found"),
    [
        ("mail.example.org", 1, "IP address mismatch"),
        ("127.0.0.1", -1, "certificate has expired"),
    ],
    ids=["of another host", "expired"],
)
def test_a_certificate_that_is_not_this_servers_or_not_of_today_is_not_accepted(
    tmp_path: Path, authority: trustme.CA, security: str, name: str, days: int, found: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    begun = datetime(2020, 1, 1, tzinfo=UTC)
    ends = datetime.now(UTC) + timedelta(days=days)
    authority.issue_cert(name, not_before=begun, not_after=ends).configure_cert(context)
    with Inbox(tmp_path / "inbox", tls=context, tls_from_start=security == "tls") as inbox:
        mailer = Mailer(settings(inbox.port, smtp_security=security))
        with pytest.raises(MailRefused, match=found) as refused:
            send(mailer)
        assert not inbox.messages
    assert refused.value.configuration
    assert refused.value.phase == ("tls" if security == "starttls" else "connect")


class Between:
    """Somebody between us and the mail server, who plays a script and keeps what he hears.

    With `tls`, he starts it after the last line, answers one command, and hears the rest.
    """

    def __init__(self, *script: bytes, tls: ssl.SSLContext | None = None) -> None:
        self.heard = b""
        self.heard_encrypted = b""
        self._script = script
        self._tls = tls
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._play)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(10)
        self._socket.close()

    def _play(self) -> None:
        connection, _ = self._socket.accept()
        with connection:
            *lines, last = self._script
            for line in lines:
                connection.sendall(line)
                self.heard += connection.recv(65_536)
            connection.sendall(last)
            if self._tls is None:
                while more := connection.recv(65_536):
                    self.heard += more
                return
            with self._tls.wrap_socket(connection, server_side=True) as encrypted:
                self.heard_encrypted += encrypted.recv(65_536)
                encrypted.sendall(b"250 mail.example.org\r\n")
                while more := encrypted.recv(65_536):
                    self.heard_encrypted += more


GREETING = b"220 mail.example.org ESMTP\r\n"
OFFER = b"250-mail.example.org\r\n250-AUTH PLAIN LOGIN\r\n250 STARTTLS\r\n"
SECRET = {"smtp_security": "starttls", "smtp_user": "reports", "smtp_password": "s3cret"}


@pytest.mark.parametrize(
    "script",
    [
        (GREETING, b"250-mail.example.org\r\n250 AUTH PLAIN LOGIN\r\n"),
        (GREETING, OFFER, b"454 4.7.0 not now\r\n"),
        (GREETING, OFFER, b"502 5.5.1 what?\r\n"),
        (GREETING, OFFER, b"220 go ahead\r\n250 but in clear\r\n"),
    ],
    ids=["not offered", "put off", "not known", "taken, and then spoken in clear"],
)
def test_neither_mail_nor_password_goes_out_in_clear_where_somebody_strips_starttls(
    script: tuple[bytes, ...],
) -> None:
    with Between(*script) as between:
        mailer = Mailer(settings(between.port, **{**SECRET, "smtp_timeout": 0.5}))
        with pytest.raises(MailRefused) as refused:
            send(mailer)
        mailer.close()
    assert refused.value.phase == "tls"
    assert between.heard.startswith(b"ehlo")
    for command in (b"AUTH", b"MAIL", b"DATA", b"s3cret", RECIPIENT.encode()):
        assert command.lower() not in between.heard.lower()


def test_what_was_said_before_the_encryption_does_not_count_inside(
    authority: trustme.CA, certificate: ssl.SSLContext
) -> None:
    """Else an answer slipped in behind that to STARTTLS would pass for the server's."""
    slipped_in = b"220 go ahead\r\n250-mail.example.org\r\n250 AUTH PLAIN LOGIN\r\n"
    known = authority.cert_pem.bytes().decode()
    with (
        Between(GREETING, OFFER, slipped_in, tls=certificate) as between,
        pytest.raises(MailRefused) as refused,
    ):
        send(Mailer(settings(between.port, **SECRET, smtp_ca=known)))
    assert refused.value.phase == "auth"
    assert between.heard_encrypted.lower().startswith(b"ehlo")
    assert b"AUTH" not in between.heard_encrypted


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_that_nobody_vouches_for_is_not_accepted(
    tmp_path: Path, certificate: ssl.SSLContext, security: str
) -> None:
    with Inbox(tmp_path, tls=certificate, tls_from_start=security == "tls") as inbox:
        mailer = Mailer(settings(inbox.port, smtp_security=security))
        with pytest.raises(MailRefused, match=r"not trusted.*BROADSHEET_SMTP_CA_FILE") as refused:
            send(mailer)
    assert refused.value.configuration
    assert not refused.value.permanent


def test_encryption_that_the_server_does_not_offer_is_never_done_without(inbox: Inbox) -> None:
    mailer = Mailer(settings(inbox.port, smtp_security="starttls"))
    with pytest.raises(MailRefused, match="check BROADSHEET_SMTP_SECURITY") as refused:
        send(mailer)
    assert refused.value.configuration
    assert not inbox.messages


def test_a_server_without_tls_at_a_tls_port_is_told_apart(inbox: Inbox) -> None:
    mailer = Mailer(settings(inbox.port, smtp_security="tls"))
    with pytest.raises(MailRefused, match=r"does not speak TLS.*BROADSHEET_SMTP_SECURITY"):
        send(mailer)


@pytest.mark.parametrize(
    ("user", "password", "code"), [("reports", "wr0ng", 535), ("", "", 530), ("reports", "ü", None)]
)
def test_a_refused_sign_in_is_a_matter_of_settings_and_keeps_the_password(
    tmp_path: Path, user: str, password: str, code: int | None
) -> None:
    with Inbox(tmp_path, user="reports", password="s3cret") as inbox:
        mailer = Mailer(settings(inbox.port, smtp_user=user, smtp_password=password))
        with pytest.raises(MailRefused, match="BROADSHEET_SMTP_PASSWORD") as refused:
            send(mailer)
        mailer.close()
    assert (refused.value.code, refused.value.permanent) == (code, False)
    assert refused.value.configuration
    assert not password or password not in str(refused.value)


def test_a_server_that_wants_encryption_first_says_which_setting(
    inbox: Inbox, mailer: Mailer
) -> None:
    inbox.faults["mail"] = "530 5.7.0 Must issue a STARTTLS command first"
    with pytest.raises(MailRefused, match="check BROADSHEET_SMTP_SECURITY") as refused:
        send(mailer)
    assert refused.value.configuration


# -- checking -------------------------------------------------------------------------------


def test_a_check_sends_nothing_and_says_what_it_found(inbox: Inbox, mailer: Mailer) -> None:
    assert mailer.check() == (
        f"The mail server 127.0.0.1:{inbox.port} answers, not encrypted, not signed in."
    )
    assert not inbox.messages


def test_a_check_fails_with_a_sentence() -> None:
    port = free_port()
    with pytest.raises(MailRefused) as refused:
        Mailer(settings(port)).check()
    assert refused.value.message == (
        "The mail server cannot be reached: Connection refused (in phase connect); "
        "check BROADSHEET_SMTP_HOST and BROADSHEET_SMTP_PORT."
    )
