from __future__ import annotations

import io
import random
import zlib
from dataclasses import dataclass

import pypdfium2
import pytest
from PIL import Image, ImageChops, ImageDraw, ImageStat
from pypdf import PdfReader, PdfWriter
from pypdf.generic import (
    DecodedStreamObject,
    DictionaryObject,
    NameObject,
    NumberObject,
    StreamObject,
)

from workers import shrink
from workers.messages import encoded


@dataclass(frozen=True)
class File:
    kind: str
    content: bytes
    name: str = ""


def chart(width: int = 1400, height: int = 900) -> Image.Image:
    """Many shades of a few colours, as an anti-aliased chart has."""
    dice = random.Random(1)
    picture = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(picture)
    for x in range(0, width, 2):
        shade = dice.randrange(120)
        draw.line(
            [(x, dice.randrange(height)), (x + 3, height)],
            fill=(30 + shade, 120 + shade, 200 + shade // 3),
            width=2,
        )
    return picture


def png(width: int = 1400, height: int = 900) -> bytes:
    out = io.BytesIO()
    chart(width, height).save(out, "PNG")
    return out.getvalue()


def pdf(picture: Image.Image | None = None, *, sound: bool = True) -> bytes:
    """A page with one picture, as Chromium writes it."""
    picture = picture or chart()
    writer = PdfWriter()
    page = writer.add_blank_page(width=700, height=450)
    image = StreamObject()
    image._data = zlib.compress(picture.tobytes()) if sound else b"no such thing"
    image.update(
        {
            NameObject("/Type"): NameObject("/XObject"),
            NameObject("/Subtype"): NameObject("/Image"),
            NameObject("/Width"): NumberObject(picture.width),
            NameObject("/Height"): NumberObject(picture.height),
            NameObject("/ColorSpace"): NameObject("/DeviceRGB"),
            NameObject("/BitsPerComponent"): NumberObject(8),
            NameObject("/Filter"): NameObject("/FlateDecode"),
        }
    )
    drawn = DecodedStreamObject()
    drawn.set_data(b"q 700 0 0 450 0 0 cm /I Do Q")
    page[NameObject("/Contents")] = writer._add_object(drawn)
    page[NameObject("/Resources")] = DictionaryObject(
        {NameObject("/XObject"): DictionaryObject({NameObject("/I"): writer._add_object(image)})}
    )
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def seen(content: bytes) -> Image.Image:
    return pypdfium2.PdfDocument(content)[0].render(scale=1).to_pil().convert("RGB")


def test_a_pdf_gets_smaller_and_looks_the_same() -> None:
    before = pdf()
    after = shrink.thin_pdf(before)
    assert len(after) < 0.7 * len(before)
    difference = ImageChops.difference(seen(before), seen(after)).convert("L")
    assert ImageStat.Stat(difference).mean[0] < 4
    assert len(PdfReader(io.BytesIO(after)).pages) == 1


def test_a_picture_with_few_colours_loses_none() -> None:
    before = pdf(Image.new("RGB", (300, 300), "#123456"))
    assert ImageChops.difference(seen(before), seen(shrink.thin_pdf(before))).getbbox() is None


def test_the_same_file_becomes_the_same_smaller_one() -> None:
    for make, content in (
        (shrink.thin_pdf, pdf()),
        (shrink.few_colours, png()),
        (shrink.few_pixels, png()),
    ):
        assert make(content) == make(content)


@pytest.mark.parametrize(("width", "shown"), [(1400, 700), (1000, 614), (614, 614), (400, 400)])
def test_a_picture_is_never_narrower_than_a_mail_shows_it(width: int, shown: int) -> None:
    made = Image.open(io.BytesIO(shrink.few_pixels(png(width, 200))))
    assert made.width == shown
    assert made.height == round(200 * shown / width)


def test_what_fits_is_left_alone() -> None:
    files = [File("pdf", pdf()), File("image", png())]
    assert shrink.to_fit(files, 100_000_000) == files


def test_a_pdf_is_made_smaller_before_a_picture_is() -> None:
    files = [File("pdf", pdf(), "a"), File("image", png(), "b")]
    smaller = encoded(len(shrink.thin_pdf(files[0].content)))
    made = shrink.to_fit(files, smaller + encoded(len(files[1].content)))
    assert [one.name for one in made] == ["a", "b"]
    assert len(made[0].content) < len(files[0].content)
    assert made[1] == files[1]


def test_what_does_not_fit_even_so_stays_as_it_was() -> None:
    files = [File("pdf", pdf()), File("csv", b"x" * 100)]
    assert shrink.to_fit(files, 1000) == files


def test_what_cannot_be_read_is_left_as_it_is() -> None:
    files = [File("pdf", b"%PDF-1.7"), File("pdf", pdf(sound=False)), File("image", b"png")]
    assert shrink.to_fit(files, 3) == files
