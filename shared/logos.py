"""Logos: how the settings name one, and any picture made into a small PNG. No I/O.

Whatever somebody sent is drawn anew, so that what is kept and shown is never what was sent.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
import threading

from PIL import Image, UnidentifiedImageError

from shared.errors import Permanent

#: As large as 10 mm on paper can use, at 600 dots per inch.
LARGEST = (960, 240)
#: A picture of a few kilobytes may unfold to gigabytes.
MAX_PIXELS = 16_000_000
#: Every run keeps a copy of its logo, and every recipient gets one: no photographs.
MAX_BYTES = 180 * 1024
#: The address that holds it.
LONGEST_DATA = 256 * 1024
#: What may be sent or fetched, as in Grafana.
MAX_SOURCE = 3 * 1024 * 1024
#: Only these readers are tried, whatever the content says it is; none of them knows scripts,
#: files or addresses, as SVG and EPS do.
FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
#: Where uploaded logos are had.
PATH = "/api/reports/images"

_DATA = re.compile(r"data:image/(?:png|jpeg|gif);base64,([A-Za-z0-9+/]+={0,2})", re.ASCII)
_PNG = re.compile(
    r"data:image/png;base64,([A-Za-z0-9+/]{4})*[A-Za-z0-9+/]{2}([A-Za-z0-9+/]{2}|[A-Za-z0-9+/]=|==)",
    re.ASCII,
)
_NAME = re.compile(r"[0-9a-f]{32}\.png", re.ASCII)
_UNREADABLE = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
    OSError,
    ValueError,
    SyntaxError,
    # Readers meet what they did not expect; all of it means the same here.
    ArithmeticError,
    LookupError,
    TypeError,
    EOFError,
)
#: One at a time per process: unfolded, a picture takes up to a hundred megabytes.
_ONE = threading.Lock()


class NoPicture(Permanent):
    """It is no picture that can be read: PNG, JPEG, GIF or WebP, whole, and not too large."""


def png(content: bytes) -> bytes:
    """Return the picture as a small PNG without anything besides. Raises `NoPicture`."""
    if not content or len(content) > MAX_SOURCE:
        raise NoPicture
    try:
        with _ONE, Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise NoPicture
            picture.draft("RGB", LARGEST)
            small = picture.convert("RGBA")
            small.thumbnail(LARGEST, Image.Resampling.LANCZOS)
    except _UNREADABLE as exc:
        raise NoPicture from exc
    # Metadata (places, names, profiles) hangs on the picture and would be written again.
    small.info.clear()
    while len(made := _written(small)) > MAX_BYTES:
        small = small.resize((max(1, small.width * 3 // 4), max(1, small.height * 3 // 4)))
    return made


def _written(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()


def is_data(url: str) -> bool:
    """Whether it is an address that is itself the picture, or means to be."""
    return url[:5].lower() == "data:"


def in_data(url: str) -> bytes:
    """Return what a `data:` address of a PNG, JPEG or GIF holds. Raises `NoPicture`."""
    found = _DATA.fullmatch(url)
    try:
        return base64.b64decode(found[1], validate=True) if found else b""
    except binascii.Error as exc:
        raise NoPicture from exc


def data_url(content: bytes) -> str:
    """Return the address that is itself this PNG."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def only_png(url: str) -> str:
    """Return a `data:` address of a PNG that is not too large; "" for anything else."""
    return url if len(url) <= LONGEST_DATA and _PNG.fullmatch(url) else ""


def uploaded(url: str, public_url: str) -> str | None:
    """Return the name of the uploaded logo that an address means; None: it means no such.

    `/api/reports/images/<name>` alone, or below our own public address. "" where the name is
    none that we give.
    """
    path = url.removeprefix(public_url) if public_url else url
    if not path.startswith(f"{PATH}/"):
        return None
    name = path.removeprefix(f"{PATH}/")
    return name if is_name(name) else ""


def is_name(name: str) -> bool:
    """Whether it may be the name of an uploaded logo."""
    return bool(_NAME.fullmatch(name))
