"""The logos of the settings: found wherever they are, and no report waits or fails for one."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from shared import logos
from shared.settings import Settings
from tests.pictures import data_url, picture
from workers.logo import KEPT, MISSED, MOST, Logos
from workers.logo_address import LogoRefused

NAME = "0123456789abcdef" * 2 + ".png"
URL = "https://example.org/logo.png?key=SECRET"


class Web:
    """Answers with what it is given, and counts."""

    def __init__(self) -> None:
        self.answer: bytes | Exception = picture()
        self.asked: list[str] = []

    def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def web() -> Web:
    return Web()


@pytest.fixture
def time() -> list[float]:
    return [1000.0]


@pytest.fixture
def known(web: Web, time: list[float]) -> Logos:
    settings = Settings(public_url="https://reports.example.org")
    return Logos(settings, fetch=web, clock=lambda: time[0])


def nothing(name: str) -> bytes | None:
    return None


def one(known: Logos, url: str, org_id: int = 1, look=nothing) -> str:
    body = {"branding": {"reportLogoUrl": url, "emailFooterText": "Acme"}, "pdfTheme": "dark"}
    found = known.found(body, org_id=org_id, look=look)
    assert found["pdfTheme"] == "dark"
    assert found["branding"]["emailFooterText"] == "Acme"
    assert found["branding"]["emailLogoUrl"] == ""
    return str(found["branding"]["reportLogoUrl"])


PNG = logos.data_url(logos.png(picture()))


def test_a_logo_is_drawn_anew_wherever_it_is_from(known: Logos) -> None:
    assert one(known, URL) == PNG
    assert one(known, data_url(picture())) == PNG
    assert one(known, f"/api/reports/images/{NAME}", look=lambda _: logos.png(picture())) == PNG


def test_an_uploaded_logo_is_asked_of_the_database_and_not_of_the_web(
    known: Logos, web: Web
) -> None:
    asked: list[str] = []

    def look(name: str) -> bytes | None:
        asked.append(name)
        return None

    for url in (
        f"/api/reports/images/{NAME}",
        f"https://reports.example.org/api/reports/images/{NAME}",
        "/api/reports/images/../../etc/passwd",
    ):
        assert one(known, url, look=look) == ""
    assert asked == [NAME, NAME]
    assert web.asked == []


def test_a_logo_is_fetched_once_in_a_while_for_each_organisation(
    known: Logos, web: Web, time: list[float]
) -> None:
    one(known, URL)
    one(known, URL)
    assert len(web.asked) == 1
    one(known, URL, org_id=2)
    assert len(web.asked) == 2
    time[0] += KEPT
    one(known, URL)
    assert len(web.asked) == 3


def test_a_logo_that_was_not_had_is_tried_again_soon(
    known: Logos, web: Web, time: list[float]
) -> None:
    web.answer = LogoRefused("https://example.org did not answer in time")
    assert one(known, URL) == ""
    web.answer = picture()
    assert one(known, URL) == ""
    time[0] += MISSED
    assert one(known, URL) == PNG


def test_only_so_many_logos_are_remembered(known: Logos, web: Web) -> None:
    for number in range(MOST + 1):
        one(known, f"https://example.org/{number}.png")
    one(known, f"https://example.org/{MOST}.png")
    assert len(web.asked) == MOST + 1
    one(known, "https://example.org/0.png")
    assert len(web.asked) == MOST + 2


@pytest.mark.parametrize(
    "answer",
    [
        LogoRefused("https://example.org did not answer in time"),
        b"<svg/>",
        b"",
    ],
)
def test_what_cannot_be_had_is_left_out_with_the_cause_and_without_the_address(
    known: Logos, web: Web, answer: bytes | Exception
) -> None:
    web.answer = answer
    with capture_logs() as lines:
        assert one(known, URL) == ""
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("logo.left_out", "warning")
    assert (line["org_id"], line["field"]) == (1, "reportLogoUrl")
    assert line["error"]
    assert "SECRET" not in str(line)


@pytest.mark.parametrize(
    "body", [{}, {"branding": None}, {"branding": {"reportLogoUrl": None, "emailLogoUrl": 7}}]
)
def test_settings_without_a_logo_have_none(known: Logos, web: Web, body: dict) -> None:
    web.answer = LogoRefused("no")
    found = known.found(body, org_id=1, look=nothing)
    assert found["branding"]["reportLogoUrl"] == found["branding"]["emailLogoUrl"] == ""
