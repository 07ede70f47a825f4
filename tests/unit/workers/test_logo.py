"""Logos: a picture in its address becomes a small PNG; anything else is none."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import pytest
from PIL import Image

from workers import logo


def picture(kind: str, size: tuple[int, int] = (300, 100), mode: str = "RGB") -> str:
    out = io.BytesIO()
    Image.new(mode, size, 128 if mode in "LP" else (200, 80, 30)).save(out, kind)
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}"


def read(url: str) -> Image.Image:
    head, _, data = url.partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif"])
def test_a_picture_becomes_a_png_of_the_same_shape(kind: str) -> None:
    printed = read(logo.printable(picture(kind)))
    assert printed.format == "PNG"
    assert printed.size == (300, 100)


def test_a_large_picture_is_made_as_small_as_paper_needs_it() -> None:
    wide = read(logo.printable(picture("png", (4000, 2000), "L")))
    assert wide.size == (480, 240)


def test_a_picture_keeps_what_is_see_through() -> None:
    out = io.BytesIO()
    Image.new("RGBA", (10, 10), (0, 0, 0, 0)).save(out, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
    assert read(logo.printable(url)).getpixel((5, 5)) == (0, 0, 0, 0)


def bomb() -> str:
    """A PNG of a few hundred bytes that says it has 90,000 by 90,000 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", 90_000, 90_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(999)))
    return f"data:image/png;base64,{base64.b64encode(png + chunk(b'IEND', b'')).decode()}"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://example.org/logo.png",
        "data:image/svg+xml;base64,PHN2Zy8+",
        "data:image/png;base64,",
        "data:image/png;base64,YQ",
        "data:image/png;base64,YWJj",
        picture("png")[:-200],
        bomb(),
    ],
)
def test_what_is_no_picture_is_no_logo(url: str) -> None:
    assert logo.printable(url) == ""
