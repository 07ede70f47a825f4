"""Making the files of a mail smaller when they do not fit: pictures in fewer colours and pixels.

Pure, and the same bytes every time. What is lost is what few would see; what does not fit even
so stays as it was, since it is not sent but linked to.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from PIL import Image

from workers import bind
from workers.messages import encoded

#: Pictures are shown in a mail at this width; with less, texts could not be read.
SHOWN = 614
#: Who shrinks a picture by less leaves it alone.
WORTHWHILE = 0.9
COLOURS = 256


class File(Protocol):
    """What is known of a file here; a dataclass with these fields."""

    @property
    def kind(self) -> str:
        """A kind of document."""

    @property
    def content(self) -> bytes:
        """Its bytes."""


F = TypeVar("F", bound=File)
Step = Callable[[bytes], bytes]


def to_fit(files: Sequence[F], limit: int) -> list[F]:
    """Return the files, smaller where that lets more of them into a mail of `limit` bytes."""
    best = list(files)
    left = _left_out(best, limit)
    made: dict[tuple[int, Step], F] = {}
    for step in range(len(STEPS)):
        if not left:
            break
        tried = []
        for number, file in enumerate(files):
            smaller = STEPS[step].get(file.kind)
            if smaller and (number, smaller) not in made:
                made[number, smaller] = _tried(file, smaller)
            tried.append(made[number, smaller] if smaller else file)
        now = _left_out(tried, limit)
        if len(now) < len(left):
            # What is left out all the same is linked to, so it need not lose anything.
            best = [files[n] if n in now else file for n, file in enumerate(tried)]
            left = now
    return best


def _tried(file: F, smaller: Step) -> F:
    """Return the file made smaller; or as it is, where that wins little or cannot be done."""
    try:
        content = smaller(file.content)
    except (OSError, ValueError, LookupError, TypeError, bind.Broken):
        # Of no help to the reader: it fits or is linked to as it is.
        return file
    if len(content) > WORTHWHILE * len(file.content):
        return file
    return replace(file, content=content)  # type: ignore[type-var]  # a dataclass, see `File`


def _left_out(files: Sequence[File], limit: int) -> set[int]:
    """Return the places of what does not fit, as `messages.compose` finds it."""
    left = set()
    for number, file in enumerate(files):
        needed = encoded(len(file.content))
        if needed <= limit:
            limit -= needed
        else:
            left.add(number)
    return left


def few_colours(png: bytes) -> bytes:
    """Return the picture in at most 256 colours."""
    return _saved(Image.open(io.BytesIO(png)).convert("RGB"))


def few_pixels(png: bytes) -> bytes:
    """Return the picture in few colours and at half its width, but no less than is shown."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    width = max(SHOWN, picture.width // 2)
    if width < picture.width:
        height = max(1, round(picture.height * width / picture.width))
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    return _saved(picture)


def thin_pdf(pdf: bytes) -> bytes:
    """Return the PDF with its pictures in few colours."""
    return bind.with_thin_pictures(pdf, _palette)


def _palette(pixels: bytes, width: int, height: int) -> tuple[bytes, bytes] | None:
    picture = _reduced(Image.frombytes("RGB", (width, height), pixels))
    indices = picture.tobytes()
    if len(zlib.compress(indices)) >= WORTHWHILE * len(zlib.compress(pixels)):
        return None
    palette = bytes(picture.getpalette() or ())
    return (palette, indices) if palette else None


def _reduced(picture: Image.Image) -> Image.Image:
    return picture.quantize(COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)


def _saved(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    _reduced(picture).save(out, "PNG", optimize=True)
    return out.getvalue()


#: What is tried one after the other, each with the files as they were.
STEPS: Sequence[dict[str, Step]] = (
    {"pdf": thin_pdf},
    {"pdf": thin_pdf, "image": few_colours},
    {"pdf": thin_pdf, "image": few_pixels},
)
