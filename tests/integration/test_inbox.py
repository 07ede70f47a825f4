from __future__ import annotations

import re
import signal
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest

from deploy.local.inbox import Inbox, page


def mail(subject: str = "Größe") -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = subject
    message["From"] = "reports@example.org"
    message["To"] = "ann@example.org"
    message.set_content("plain words\n")
    message.add_alternative('<p>Hi <script>x</script><img src="cid:a@b"></p>', subtype="html")
    html = message.get_body(("html",))
    assert isinstance(html, EmailMessage)
    html.add_related(
        b"\x89PNG", "image", "png", cid="<a@b>", filename="p.png", disposition="inline"
    )
    message.add_attachment(b"a;b\n", maintype="text", subtype="csv", filename="Größe.csv")
    return message


def send(port: int, *messages: EmailMessage) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
        for message in messages:
            client.send_message(message)


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    with Inbox(tmp_path / "inbox") as inbox:
        yield inbox


@pytest.fixture
def browser(inbox: Inbox) -> Iterator[httpx.Client]:
    with (
        page(inbox) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10) as client,
    ):
        yield client


def test_a_mail_is_kept_as_a_file_that_any_mail_program_opens(inbox: Inbox) -> None:
    send(inbox.port, mail())
    [received] = inbox.wait_for(1)
    [file] = inbox.folder.glob("*")
    assert file.name == "000001.eml"
    assert file.read_bytes().startswith(
        b"Return-Path: <reports@example.org>\r\nDelivered-To: ann@example.org\r\nReceived: "
    )
    assert file.read_bytes().endswith(received.content)


def test_mails_outlive_the_inbox(tmp_path: Path) -> None:
    with Inbox(tmp_path) as first:
        send(first.port, mail("one"), mail("two"))
        kept = first.messages
    with Inbox(tmp_path) as second:
        assert second.messages == kept
        send(second.port, mail("three"))
        numbers = [(item.number, item.message["Subject"]) for item in second.messages]
    assert numbers == [(1, "one"), (2, "two"), (3, "three")]


def test_waiting_for_mail_that_does_not_come_says_how_many_came(inbox: Inbox) -> None:
    send(inbox.port, mail())
    with pytest.raises(TimeoutError, match="1 of 2 mails came"):
        inbox.wait_for(2, timeout=0.05)


def test_the_list_shows_every_mail(inbox: Inbox, browser: httpx.Client) -> None:
    assert "No mail yet" in browser.get("/").text
    send(inbox.port, mail("<b>one</b>"), mail("two"))
    listing = browser.get("/").text
    assert "&lt;b&gt;one&lt;/b&gt;" in listing
    assert listing.index(">two<") < listing.index(">&lt;b&gt;one")


def test_scripts_get_the_list_as_json(inbox: Inbox, browser: httpx.Client) -> None:
    send(inbox.port, mail())
    [entry] = browser.get("/messages.json").json()
    assert entry["subject"] == "Größe"
    assert entry["recipients"] == ["ann@example.org"]
    assert entry["files"] == ["p.png", "Größe.csv"]


def test_a_mail_shows_its_text_headers_and_files(inbox: Inbox, browser: httpx.Client) -> None:
    send(inbox.port, mail())
    shown = browser.get("/messages/1").text
    assert "plain words" in shown
    assert "Subject: Größe" in shown
    address = re.search(r'<a href="([^"]*)">Größe.csv</a>', shown)
    assert address
    download = browser.get(address[1])
    assert download.content == b"a;b\n"
    assert download.headers["Content-Disposition"] == (
        "attachment; filename*=utf-8''Gr%C3%B6%C3%9Fe.csv"
    )


def test_the_html_of_a_mail_may_run_nothing(inbox: Inbox, browser: httpx.Client) -> None:
    send(inbox.port, mail())
    assert re.search(r'<iframe [^>]*sandbox="allow-popups[^"]*"', browser.get("/messages/1").text)
    framed = browser.get("/messages/1/html")
    policy = framed.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox ")
    assert "allow-scripts" not in policy
    assert "default-src 'none'" in policy


def test_pictures_of_a_mail_are_shown_from_the_mail(inbox: Inbox, browser: httpx.Client) -> None:
    send(inbox.port, mail())
    source = re.search(r'<img src="([^"]*)">', browser.get("/messages/1/html").text)
    assert source
    picture = browser.get(source[1])
    assert (picture.headers["Content-Type"], picture.content) == ("image/png", b"\x89PNG")


def test_a_mail_can_be_had_as_it_came(inbox: Inbox, browser: httpx.Client) -> None:
    send(inbox.port, mail())
    assert browser.get("/messages/1/raw").content == inbox.messages[0].content


@pytest.mark.parametrize(
    "path", ["/messages/2", "/messages/1/files/9", "/messages/x", "/../inbox.py", "/favicon.ico"]
)
def test_what_is_not_there_is_not_found(inbox: Inbox, browser: httpx.Client, path: str) -> None:
    send(inbox.port, mail())
    assert browser.get(path).status_code == 404


def test_a_page_of_another_name_cannot_read_the_mail(browser: httpx.Client) -> None:
    assert browser.get("/messages.json", headers={"Host": "evil.example:80"}).status_code == 403


def test_the_command_says_when_it_is_ready_and_stops_when_told(
    checkout: Path, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "deploy.local.inbox"),
            *("--port", "0", "--http-port", "0", "--folder", str(tmp_path / "mails")),
        ],
        cwd=checkout,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout
        ready = process.stdout.readline()
        found = re.fullmatch(
            r"Inbox: smtp://127\.0\.0\.1:(\d+), (http://127\.0\.0\.1:\d+/)\n", ready
        )
        assert found
        send(int(found[1]), mail())
        assert "Größe" in httpx.get(found[2], trust_env=False, timeout=10).text
        process.send_signal(signal.SIGTERM)
        rest, errors = process.communicate(timeout=10)
    assert (process.returncode, rest, errors) == (0, "", "")
    assert (tmp_path / "mails" / "000001.eml").is_file()
