"""Pictures for tests: good ones, and such as are made to do harm."""

from __future__ import annotations

import base64
import io
import struct
import zlib

from PIL import Image
from PIL.PngImagePlugin import PngInfo


def picture(kind: str = "png", size: tuple[int, int] = (300, 100), mode: str = "RGB") -> bytes:
    """A picture of one colour."""
    out = io.BytesIO()
    Image.new(mode, size, 128 if mode in "LP" else (200, 80, 30)).save(out, kind)
    return out.getvalue()


def data_url(content: bytes, kind: str = "png") -> str:
    """The address that is itself the picture."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def talkative() -> bytes:
    """A PNG that tells where it was made, and has more after its end."""
    about = PngInfo()
    about.add_text("Comment", "made at SECRET-PLACE")
    out = io.BytesIO()
    Image.new("RGB", (30, 10)).save(out, "PNG", pnginfo=about)
    return out.getvalue() + b"<script>SECRET-PLACE</script>"


def png_of(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that says it has so many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(bytes(999)))
        + _chunk(b"IEND", b"")
    )


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
#: What is no picture, or none that is drawn.
NO_PICTURES = {
    "nothing": b"",
    "text": b"abc",
    "html": b"<html><img src=x onerror=alert(1)>",
    "svg": SVG,
    "svg with a head": b'<?xml version="1.0"?>' + SVG,
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(/etc/passwd) run\n",
    "pdf": b"%PDF-1.7\n",
    "bitmap": picture("bmp"),
    "tiff": picture("tiff"),
    "icon": picture("ico", (16, 16)),
    "cut off": picture()[:-40],
    "head only": picture()[:20],
    "90,000 by 90,000": png_of(90_000, 90_000),
    "10,000 by 10,000": png_of(10_000, 10_000),
    "no height": png_of(10, 0),
    "signature only": b"\x89PNG\r\n\x1a\n",
    "gif head only": b"GIF89a\x01\x00\x01\x00",
    "jpeg head only": b"\xff\xd8\xff\xe0",
    "webp head only": b"RIFF\x00\x00\x00\x00WEBPVP8 ",
}
