"""Mails with hostile names everywhere: the same headers, one of each, and no recipient more."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage

import pytest

from shared.settings import Settings
from tests.hostile import BIDI, TEXTS
from workers.mail import Attachment, Mailer, MailRefused
from workers.messages import Letter, header_text

LETTER = Letter(
    subject="Weekly",
    text="Hi\n",
    html="<p>Hi</p>\n",
    reply_to=("desk@example.org",),
    date=datetime(2026, 1, 5, 8, tzinfo=UTC),
    attachments=(1,),
    images=(("image2@broadsheet", 2),),
)
TURNS = re.compile("[\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def mailer() -> Mailer:
    return Mailer(Settings(smtp_host="mail.invalid", smtp_from="Reports <reports@example.org>"))


def build(mailer: Mailer, letter: Letter, name: str, **more: str) -> bytes:
    return mailer.build(
        letter,
        recipient=more.get("recipient", "ann@example.org"),
        message_id="<r1.abc@example.org>",
        attachments=[
            Attachment(name=name, media_type=more.get("media_type", "text/csv"), content=b"a\r\n"),
            Attachment(
                name=name, media_type="image/png", content=b"\x89", content_id="image2@broadsheet"
            ),
        ],
    )


def headers(message: bytes) -> list[Counter[str]]:
    """The names of the headers, of the mail and of each part."""
    mail = message_from_bytes(message, policy=policy.compat32)
    return [Counter(name.lower() for name in part) for part in mail.walk()]


def parsed(message: bytes) -> EmailMessage:
    made = message_from_bytes(message, policy=policy.default)
    assert isinstance(made, EmailMessage)
    return made


@pytest.mark.parametrize("text", [text for text in TEXTS if header_text(text)])
def test_no_name_adds_a_header_a_part_or_a_recipient(mailer: Mailer, text: str) -> None:
    letter = dataclasses.replace(LETTER, subject=text)
    message = build(mailer, letter, text, media_type=text)
    plain = build(mailer, LETTER, "a.csv")
    assert headers(message) == headers(plain)
    assert max(len(line) for line in message.split(b"\r\n")) <= 998
    assert b"\r" not in message.replace(b"\r\n", b"")
    assert b"\n" not in message.replace(b"\r\n", b"")
    mail = message_from_bytes(message, policy=policy.compat32)
    subject = str(make_header(decode_header(mail["Subject"])))
    # What looks encoded is encoded itself, so that it is read as it was written.
    assert " ".join(subject.split()) == header_text(text)
    assert not TURNS.search(subject)
    assert parsed(message)["To"] == "ann@example.org"
    assert "Bcc" not in mail
    assert mail.defects == []


@pytest.mark.parametrize("text", TEXTS)
def test_a_file_in_a_mail_has_a_name_without_a_path(mailer: Mailer, text: str) -> None:
    for part in parsed(build(mailer, LETTER, text)).walk():
        name = part.get_filename()
        if name is None:
            continue
        assert name
        assert not set("/\\\r\n\0") & set(name)
        assert not TURNS.search(name)
        assert len(name.encode()) <= 200


@pytest.mark.parametrize("text", BIDI)
def test_a_name_reads_as_it_is(text: str) -> None:
    assert not TURNS.search(header_text(text))


def test_what_languages_need_stays() -> None:
    for text in ("می\u200cخواهم", "क\u094d\u200dष", "\U0001f469\u200d\U0001f4bb", "עברית\u200f!"):
        assert header_text(text) == text


@pytest.mark.parametrize(
    "address",
    [
        *(text for text in TEXTS if "@" in text),
        "ann@example.org\r\nBcc: evil@example.org",
        "ann@example.org\nRCPT TO:<evil@example.org>",
        "ann@example.org,evil@example.org",
        "ann@example.org evil@example.org",
        "<ann@example.org>",
        "ann@example.org>",
        "Ann <ann@example.org>",
        "ann(x)@example.org",
        '"ann"@example.org',
        '"a\r\nb"@example.org',
        "ann@[127.0.0.1]",
        "@relay.example:ann@example.org",
        "ann@@example.org",
        "ann@example.org\0",
        "ann\u2028@example.org",
        "ann\u202e@example.org",
        "ann@exa\u2066mple.org",
        "ann@example.org\x85",
        "ann@\ud800.org",
        "ann@" + "ä" * 5_000,
        "ann",
        "",
    ],
)
def test_what_is_no_single_address_gets_no_mail(mailer: Mailer, address: str) -> None:
    with pytest.raises(MailRefused) as caught:
        build(mailer, LETTER, "a.csv", recipient=address)
    assert caught.value.permanent
    assert len(caught.value.text) < 200
    assert "\n" not in caught.value.text
    with pytest.raises(MailRefused):
        build(mailer, dataclasses.replace(LETTER, reply_to=(address,)), "a.csv")
