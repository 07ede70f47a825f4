"""Logos: any picture becomes a small PNG of our own; anything else is none."""

from __future__ import annotations

import base64
import io
import random

import pytest
from PIL import Image

from shared import logos
from shared.logos import NoPicture
from tests.pictures import NO_PICTURES, data_url, picture, talkative


def read(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp"])
def test_a_picture_becomes_a_png_of_the_same_shape(kind: str) -> None:
    made = read(logos.png(picture(kind)))
    assert made.format == "PNG"
    assert made.size == (300, 100)


def test_a_large_picture_is_made_as_small_as_paper_needs_it() -> None:
    assert read(logos.png(picture("png", (4000, 2000), "L"))).size == (480, 240)


def test_a_picture_keeps_what_is_see_through() -> None:
    out = io.BytesIO()
    Image.new("RGBA", (10, 10), (0, 0, 0, 0)).save(out, "PNG")
    assert read(logos.png(out.getvalue())).getpixel((5, 5)) == (0, 0, 0, 0)


def test_a_photograph_becomes_small_enough_for_every_mail() -> None:
    noise = random.Random(7).randbytes(960 * 240 * 3)
    out = io.BytesIO()
    Image.frombytes("RGB", (960, 240), noise).save(out, "PNG")
    made = logos.png(out.getvalue())
    assert len(made) <= logos.MAX_BYTES
    assert logos.only_png(logos.data_url(made))


def test_nothing_but_the_drawing_is_kept() -> None:
    content = talkative()
    assert b"SECRET-PLACE" in content
    assert b"SECRET-PLACE" not in logos.png(content)


@pytest.mark.parametrize("name", NO_PICTURES)
def test_what_is_no_picture_is_no_logo(name: str) -> None:
    with pytest.raises(NoPicture):
        logos.png(NO_PICTURES[name])


def test_what_is_larger_than_grafana_takes_is_not_looked_at() -> None:
    with pytest.raises(NoPicture):
        logos.png(picture() + bytes(logos.MAX_SOURCE))


@pytest.mark.parametrize("seed", range(20))
def test_a_picture_with_random_damage_is_drawn_or_refused_and_nothing_else(seed: int) -> None:
    dice = random.Random(seed)
    for kind in ("png", "jpeg", "gif", "webp"):
        content = bytearray(picture(kind, (40, 30)))
        for _ in range(8):
            content[dice.randrange(len(content))] = dice.randrange(256)
        try:
            made = logos.png(bytes(content))
        except NoPicture:
            continue
        assert read(made).format == "PNG"


def test_an_address_that_is_itself_a_picture_is_read() -> None:
    assert logos.in_data(data_url(picture())) == picture()


@pytest.mark.parametrize(
    "url",
    [
        "data:image/svg+xml;base64,PHN2Zy8+",
        "data:text/html;base64,PHN2Zy8+",
        "data:image/png,abc",
        "data:image/png;base64,",
        "data:image/png;base64,YQ",
        "data:image/png;base64,YW Jj",
        "data:image/png;base64,YWJj\n",
    ],
)
def test_what_is_no_picture_in_its_address_is_none(url: str) -> None:
    with pytest.raises(NoPicture):
        logos.png(logos.in_data(url))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://example.org/logo.png",
        data_url(picture("gif"), "gif"),
        "data:image/svg+xml;base64,PHN2Zz4=",
        "data:text/html;base64,PHN2Zz4=",
        "data:image/png;base64,AAA",
        'data:image/png;base64,AAAA" onerror="x',
        "data:image/png;base64," + "A" * logos.LONGEST_DATA,
    ],
)
def test_a_mail_and_a_page_show_nothing_but_a_png_in_its_address(url: str) -> None:
    assert logos.only_png(url) == ""


def test_a_png_in_its_address_is_shown() -> None:
    for size in (1, 2, 3, 300):
        url = "data:image/png;base64," + base64.b64encode(bytes(size)).decode()
        assert logos.only_png(url) == url


NAME = "0123456789abcdef" * 2 + ".png"


@pytest.mark.parametrize(
    ("url", "public_url", "name"),
    [
        (f"/api/reports/images/{NAME}", "", NAME),
        (f"/api/reports/images/{NAME}", "https://x.example/sub", NAME),
        (f"https://x.example/sub/api/reports/images/{NAME}", "https://x.example/sub", NAME),
        (f"https://y.example/api/reports/images/{NAME}", "https://x.example", None),
        (f"https://x.example/api/reports/images/{NAME}", "", None),
        ("/api/reports/images/", "", ""),
        ("/api/reports/images/:image", "", ""),
        ("/api/reports/images/../documents/1", "", ""),
        (f"/api/reports/images/{NAME}?x", "", ""),
        (f"/api/reports/images/{NAME.upper()}", "", ""),
        (f"/api/reports/images/{NAME}\n", "", ""),
        (f"/api/reports/images/x/{NAME}", "", ""),
        ("/api/reports/images", "", None),
        ("https://x.example/logo.png", "https://x.example", None),
    ],
)
def test_an_uploaded_logo_is_known_by_its_address(
    url: str, public_url: str, name: str | None
) -> None:
    assert logos.uploaded(url, public_url) == name
