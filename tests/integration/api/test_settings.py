"""`/settings`: one object per org."""

from __future__ import annotations

import base64

import pytest

from api.schemas import MAX_LOGO
from shared import db, logo_images, logos
from tests.pictures import NO_PICTURES, data_url
from tests.pictures import picture as drawn

SWITCHES = ("pdfHeaderEnabled", "pdfDashboardTitleEnabled", "pdfTimeRangeEnabled")
BRANDING = {
    "reportLogoUrl": "https://example.org/logo.png",
    "emailLogoUrl": "",
    "emailFooterMode": "sent-by",
    "emailFooterText": "Example",
    "emailFooterLink": "https://example.org/",
}


def picture(more: int) -> str:
    """An address that is itself a picture, `more` steps larger than what is taken."""
    head = "data:image/png;base64,"
    content = drawn()
    # Readers pass over what comes after its end.
    content += bytes(3 * ((MAX_LOGO - len(head)) // 4 + more) - len(content))
    return head + base64.b64encode(content).decode()


def read(somebody):
    status, answer = somebody("GET", "/api/reports/settings")
    assert status == 200
    return answer


def test_an_org_that_saved_nothing_has_the_defaults(admin):
    answer = read(admin)
    assert (answer["id"], answer["userId"], answer["orgId"]) == (0, 0, 1)
    assert (answer["pdfTheme"], answer["embeddedImageTheme"]) == ("light", "dark")
    assert all(answer[name] is True for name in SWITCHES)
    assert answer["branding"]["emailFooterMode"] == "sent-by"


def test_saved_settings_are_read_again_and_belong_to_the_org(admin, caller):
    body = {
        "branding": BRANDING,
        "pdfTheme": "dark",
        "embeddedImageTheme": "current",
        "pdfHeaderEnabled": False,
        "footerItems": [{"type": "text", "value": "Internal", "fontSize": "9", "extra": 1}],
        "footerFontFamily": "Inter",
        "unknown": {"a": 1},
    }
    assert admin("POST", "/api/reports/settings", body) == (
        200,
        {"message": "Report settings saved"},
    )
    answer = read(admin)
    assert answer["id"] > 0
    assert answer["branding"] == BRANDING
    assert (answer["pdfTheme"], answer["embeddedImageTheme"]) == ("dark", "current")
    assert answer["footerItems"] == [{"type": "text", "value": "Internal", "fontSize": "9"}]
    assert [answer[name] for name in SWITCHES] == [False, True, True]
    assert "unknown" not in answer
    assert read(caller(role="Admin", org_id=2))["pdfTheme"] == "light"


def test_an_absent_switch_is_on_only_at_the_first_saving(admin):
    admin("POST", "/api/reports/settings", {"pdfTheme": "light"})
    assert [read(admin)[name] for name in SWITCHES] == [True, True, True]
    admin("POST", "/api/reports/settings", {"pdfTheme": "light", "pdfHeaderEnabled": True})
    assert [read(admin)[name] for name in SWITCHES] == [True, False, False]


def test_branding_alone_changes_nothing_else(admin):
    body = {"pdfTheme": "dark", "pdfHeaderEnabled": False}
    admin("POST", "/api/reports/settings", body)
    admin("POST", "/api/reports/settings", {"branding": BRANDING})
    answer = read(admin)
    assert answer["branding"] == BRANDING
    assert answer["pdfTheme"] == "dark"
    assert [answer[name] for name in SWITCHES] == [False, True, True]


def test_settings_may_be_sent_back_as_they_were_read(admin):
    before = read(admin)
    assert admin("POST", "/api/reports/settings", before)[0] == 200
    after = read(admin)
    assert {**after, "id": 0} == before


WRONG_SETTINGS = [
    ({"branding": "x"}, "branding"),
    ({"branding": {"emailFooterMode": "loud"}}, "branding.emailFooterMode"),
    ({"branding": {"reportLogoUrl": "file:///etc/passwd"}}, "branding.reportLogoUrl"),
    ({"branding": {"emailLogoUrl": "http://[x"}}, "branding.emailLogoUrl"),
    ({"branding": {"emailFooterLink": "javascript:x"}}, "branding.emailFooterLink"),
    ({"branding": {"reportLogoUrl": "https://x.org/" + "y" * 2_000}}, "branding.reportLogoUrl"),
    ({"branding": {"emailLogoUrl": "data:text/html;base64,YQ=="}}, "branding.emailLogoUrl"),
    ({"branding": {"emailLogoUrl": "data:image/svg+xml;base64,YQ=="}}, "branding.emailLogoUrl"),
    ({"branding": {"emailLogoUrl": "data:image/png,YQ=="}}, "branding.emailLogoUrl"),
    ({"branding": {"emailLogoUrl": "data:image/png;base64,"}}, "branding.emailLogoUrl"),
    ({"branding": {"reportLogoUrl": "data:image/png;base64,YQ"}}, "branding.reportLogoUrl"),
    ({"branding": {"reportLogoUrl": picture(1)}}, "branding.reportLogoUrl"),
    ({"branding": {"reportLogoUrl": "https://a:b@example.org/x"}}, "branding.reportLogoUrl"),
    ({"branding": {"emailLogoUrl": "//a@example.org/x"}}, "branding.emailLogoUrl"),
    ({"branding": {"emailLogoUrl": "/api/reports/images/x.png"}}, "branding.emailLogoUrl"),
    ({"branding": {"emailLogoUrl": "/api/reports/images/../x"}}, "branding.emailLogoUrl"),
    ({"branding": {"emailFooterLink": picture(0)}}, "branding.emailFooterLink"),
    (
        {"branding": {"emailFooterMode": "sent-by", "emailFooterText": "Only"}},
        "branding.emailFooterLink",
    ),
    ({"branding": {**BRANDING, "emailFooterText": ""}}, "branding.emailFooterText"),
    ({"pdfHeaderEnabled": "yes"}, "pdfHeaderEnabled"),
    ({"footerItems": [{}] * 11}, "footerItems"),
    ({"footerItems": [{"fontSize": 9}]}, "footerItems[0].fontSize"),
    ({"footerItems": [{}, {"type": "text", "color": "red"}]}, "footerItems[1].color"),
    ({"footerItems": [{"type": "text", "value": "<b>"}]}, "footerItems[0].value"),
    ({"footerItems": [{"type": "pageNumber", "fontSize": "40"}]}, "footerItems[0].fontSize"),
    ({"footerItems": [{"type": "logo", "value": "50"}]}, "footerItems[0].value"),
    ({"pdfTheme": 1}, "pdfTheme"),
]


def test_wrong_settings_are_refused_and_nothing_is_saved(admin):
    for body, field in WRONG_SETTINGS:
        status, answer = admin("POST", "/api/reports/settings", body)
        assert status == 400
        assert answer["message"].startswith(f"{field}: ")
        assert read(admin)["id"] == 0


def test_footer_items_of_an_unknown_type_are_kept_as_they_came(admin):
    items = [
        {"type": "hologram", "value": "<x>", "fontSize": "400"},
        {"type": "PageNumber", "fontSize": "12px", "color": "#abc"},
        {},
    ]
    assert admin("POST", "/api/reports/settings", {"footerItems": items})[0] == 200
    assert read(admin)["footerItems"] == items


def test_a_footer_may_be_turned_off(admin):
    body = {"branding": {"emailFooterMode": "none"}}
    assert admin("POST", "/api/reports/settings", body)[0] == 200
    assert read(admin)["branding"]["emailFooterMode"] == "none"


@pytest.mark.parametrize("name", ["reportLogoUrl", "emailLogoUrl"])
@pytest.mark.parametrize("kind", ["png", "jpeg", "gif"])
def test_a_logo_may_be_the_picture_itself(admin, name, kind):
    url = data_url(drawn(kind), kind)
    assert admin("POST", "/api/reports/settings", {"branding": {name: url}})[0] == 200
    assert read(admin)["branding"][name] == url


def test_a_logo_that_says_it_is_a_picture_must_be_one(admin):
    for content in NO_PICTURES.values():
        body = {"branding": {"emailLogoUrl": data_url(content)}}
        status, answer = admin("POST", "/api/reports/settings", body)
        assert status == 400
        assert answer["message"].startswith("branding.emailLogoUrl: must ")
    assert read(admin)["id"] == 0


def test_the_largest_logo_that_is_taken_is_one_that_can_be_shown(admin):
    body = {"branding": {"emailLogoUrl": picture(0)}}
    assert admin("POST", "/api/reports/settings", body)[0] == 200
    url = read(admin)["branding"]["emailLogoUrl"]
    assert len(url) > MAX_LOGO - 4
    assert logos.png(logos.in_data(url))


def test_a_logo_may_be_one_that_was_uploaded_to_this_organisation(admin, caller, pool):
    with db.transaction(pool) as conn:
        name = logo_images.add(conn, 1, logos.png(drawn()))
        assert name
    url = f"/api/reports/images/{name}"
    other = caller(role="Admin", org_id=2)
    status, answer = other("POST", "/api/reports/settings", {"branding": {"emailLogoUrl": url}})
    assert status == 400
    assert "is no logo of this organisation" in answer["message"]
    assert admin("POST", "/api/reports/settings", {"branding": {"emailLogoUrl": url}})[0] == 200
    before = read(admin)
    assert before["branding"]["emailLogoUrl"] == url
    # Deleted meanwhile, it is no reason not to change the theme.
    with db.transaction(pool) as conn:
        assert logo_images.delete(conn, 1, name)
    assert admin("POST", "/api/reports/settings", {**before, "pdfTheme": "dark"})[0] == 200


def test_a_logo_alone_needs_no_footer_and_may_be_sent_back_as_it_was_read(admin):
    body = {"branding": {"reportLogoUrl": "https://x/y.png"}}
    assert admin("POST", "/api/reports/settings", body)[0] == 200
    before = read(admin)
    assert before["branding"]["reportLogoUrl"] == "https://x/y.png"
    assert admin("POST", "/api/reports/settings", before)[0] == 200
    assert read(admin) == before
