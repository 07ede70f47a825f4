"""The logo of the report settings, made fit for print: a small PNG, or none."""

from __future__ import annotations

import base64
import binascii
import io
import re

from PIL import Image, UnidentifiedImageError

#: As large as 10 mm on paper can use, at 600 dots per inch.
LARGEST = (960, 240)
#: A picture of a few kilobytes may unfold to gigabytes.
MAX_PIXELS = 25_000_000
_UNREADABLE = (
    binascii.Error,
    UnidentifiedImageError,
    Image.DecompressionBombError,
    OSError,
    ValueError,
    SyntaxError,
)
_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif);base64,([A-Za-z0-9+/]+={0,2})", re.ASCII)


def printable(url: str) -> str:
    """Return the logo as a `data:` URL of a PNG that any browser shows; "" if it is no picture.

    Addresses give "": they are not fetched. A logo that cannot be read is no reason not to make
    the report, and the browser would only leave a gap there.
    """
    found = _PICTURE.fullmatch(url)
    if found is None:
        return ""
    try:
        with Image.open(io.BytesIO(base64.b64decode(found[1], validate=True))) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                return ""
            picture.draft("RGB", LARGEST)
            small = picture.convert("RGBA")
    except _UNREADABLE:
        return ""
    small.thumbnail(LARGEST, Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
