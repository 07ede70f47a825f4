"""`/images`: logos that were uploaded, drawn anew, and of one organisation only."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from shared import db, logo_images, logos
from tests.pictures import NO_PICTURES, picture, talkative

PATH = "/api/reports/images"
WORDS = "You'll need additional permissions to perform this action. Permissions needed: "


def upload(somebody, content: bytes, kind: str = "image/png"):
    return somebody("POST", PATH, content, content_type=kind)


def form(*contents: bytes, field: str = "file", name: str = "logo.png"):
    """A form with these files, as bytes: the test client would write large ones to a disk."""
    parts = [
        b'--x\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n'
        b"Content-Type: text/html\r\n\r\n%s\r\n" % (field.encode(), name.encode(), content)
        for content in contents
    ]
    return {
        "body": b"".join(parts) + b"--x--\r\n",
        "content_type": "multipart/form-data; boundary=x",
    }


def test_a_logo_is_uploaded_and_had_at_the_address_that_the_answer_tells(admin):
    status, answer = upload(admin, picture("jpeg"), "image/jpeg")
    assert status == 200
    assert answer["url"] == f"{PATH}/{answer['name']}"
    got = admin.ask("GET", answer["url"])
    assert (got.status_code, got.headers["Content-Type"]) == (200, "image/png")
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in got.headers["Content-Security-Policy"]
    assert Image.open(io.BytesIO(got.data)).size == (300, 100)


def test_what_is_had_is_never_what_was_sent(admin):
    url = upload(admin, talkative())[1]["url"]
    assert b"SECRET-PLACE" not in admin.ask("GET", url).data


@pytest.mark.parametrize("field", ["file", "image", "reportLogo", "", "ü"])
def test_a_form_may_name_its_file_as_it_likes(admin, field):
    status, answer = admin("POST", PATH, **form(picture(), field=field, name="../../x.html"))
    assert status == 200
    assert logos.is_name(answer["name"])


@pytest.mark.parametrize("kind", ["image/png", "image/webp", "application/octet-stream"])
def test_what_is_no_picture_is_400_whatever_it_says_it_is(admin, kind):
    for name, content in NO_PICTURES.items():
        status, answer = upload(admin, content, kind)
        assert status == 400, name
        assert answer["message"].startswith("The body: It is no picture")
    assert admin("GET", PATH) == (200, [])


def test_a_body_of_another_kind_is_400(admin):
    for kind in ("image/svg+xml", "text/html", "application/json", "", "multipart/mixed"):
        assert upload(admin, picture(), kind)[0] == 400, kind
    text = {"data": {"file": "text"}, "content_type": "multipart/form-data"}
    for wrong in (form(), form(picture(), picture()), text):
        assert admin("POST", PATH, **wrong)[0] == 400
    broken = b"--x\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\n"
    assert upload(admin, broken, "multipart/form-data; boundary=x")[0] == 400
    assert upload(admin, broken, "multipart/form-data")[0] == 400


def test_a_body_that_is_too_large_is_413(admin):
    assert upload(admin, bytes(logos.MAX_SOURCE + 1))[0] == 413
    assert upload(admin, bytes(2 * logos.MAX_SOURCE))[0] == 413
    assert admin("POST", PATH, **form(bytes(logos.MAX_SOURCE + 1)))[0] == 413
    many = {f"x{number}": "y" for number in range(100)}
    assert admin("POST", PATH, data=many, content_type="multipart/form-data")[0] == 413
    # One that is larger than what other calls take.
    large = picture() + bytes(2 * 1024 * 1024)
    assert upload(admin, large)[0] == 200
    assert admin("POST", PATH, **form(large))[0] == 200


@pytest.mark.parametrize(
    "name",
    [
        ":image",
        "x",
        "x.png",
        "0" * 32,
        "0" * 32 + ".png",
        "0" * 32 + ".PNG",
        "0" * 32 + ".png%0A",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        "'; DROP TABLE logo_image; --",
        "x" * 5_000,
    ],
)
def test_a_name_that_nobody_was_told_is_404(admin, name):
    assert admin("GET", f"{PATH}/{name}")[0] == 404
    assert admin("DELETE", f"{PATH}/{name}")[0] == 404


def test_the_same_picture_is_kept_once_and_may_be_deleted(admin):
    first, second = (upload(admin, picture())[1]["name"] for _ in range(2))
    assert first == second
    ((only,),) = [admin("GET", PATH)[1]]
    assert only["name"] == first
    assert only["url"] == f"{PATH}/{first}"
    assert only["size"] > 0
    assert only["created"].endswith("Z")
    assert admin("DELETE", only["url"]) == (200, {"message": "Image deleted"})
    assert admin("GET", only["url"])[0] == 404
    assert admin("DELETE", only["url"])[0] == 404
    assert upload(admin, picture())[1]["name"] != first


def test_a_logo_of_another_organisation_is_not_there(admin, caller):
    url = upload(admin, picture())[1]["url"]
    other = caller(role="Admin", org_id=2)
    assert other("GET", url)[0] == 404
    assert other("DELETE", url)[0] == 404
    assert other("GET", PATH) == (200, [])
    # The same picture has another name there, which tells nothing of the first.
    assert upload(other, picture())[1]["url"] != url
    assert admin("GET", url)[0] == 200


def test_reading_and_writing_settings_are_what_it_takes(admin, caller):
    url = upload(admin, picture())[1]["url"]
    reader = caller(permissions={"reports.settings:read": ["*"]})
    writer = caller(permissions={"reports.settings:write": ["*"]})
    assert reader("GET", url)[0] == reader("GET", PATH)[0] == 200
    for status, answer in (upload(reader, picture()), reader("DELETE", url)):
        assert (status, answer) == (403, {"message": WORDS + "reports.settings:write"})
    for status, answer in (writer("GET", url), writer("GET", PATH)):
        assert (status, answer) == (403, {"message": WORDS + "reports.settings:read"})
    assert upload(writer, picture("png", (5, 5)))[0] == writer("DELETE", url)[0] == 200
    assert upload(caller(None), picture())[0] == 401


def test_an_organisation_has_so_many_and_no_more_also_of_uploads_at_once(admin, pool, caller):
    sizes = range(2, 2 + logo_images.MOST - 2)
    with db.transaction(pool) as conn:
        for size in sizes:
            assert logo_images.add(conn, 1, logos.png(picture("png", (size, 3))))
    with ThreadPoolExecutor(6) as threads:
        answers = list(
            threads.map(lambda size: upload(admin, picture("png", (size, 2))), range(2, 8))
        )
    assert sorted(status for status, _ in answers) == [200, 200, 409, 409, 409, 409]
    assert all("delete one" in answer["message"] for status, answer in answers if status == 409)
    assert len(admin("GET", PATH)[1]) == logo_images.MOST
    assert upload(caller(role="Admin", org_id=2), picture())[0] == 200
