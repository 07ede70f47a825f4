"""What real clients send, byte for byte where that is known, and what they need to get back.

The bodies are those that Grafana's documentation prints, that the Terraform provider's resource
`grafana_report` sends, and that Go clients make of empty values.
"""

from __future__ import annotations

import re

import pytest

DOCUMENTED_CREATION = """{
	"name": "Report 4",
	"recipients": "texample-report@grafana.com",
	"replyTo": "",
	"message": "Hello, please, find the report attached",
	"schedule": {
		"startDate": "2022-10-02T10:00:00+02:00",
		"endDate": "2022-11-02T20:00:00+02:00",
		"frequency": "daily",
		"intervalFrequency": "",
		"intervalAmount": 0,
		"workdaysOnly": true,
		"timeZone": "Europe/Warsaw"
	},
	"options": {
		"orientation": "landscape",
		"layout": "grid"
	},
	"enableDashboardUrl": true,
	"dashboards": [
		{
			"dashboard": {
				"uid": "7MeksYbmk",
			},
			"timeRange": {
				"from": "2022-08-08T15:00:00+02:00",
				"to": "2022-09-02T17:00:00+02:00"
			},
			"reportVariables": {
				"varibale1": "Value1"
			}
		}
	],
	"formats": [
		"pdf",
		"csv"
	]
}"""
DOCUMENTED_UPDATE = """{
	"name": "Updated Report",
	"recipients": "example-report@grafana.com",
	"replyTo": "",
	"message": "Hello, please, find the report attached",
	"schedule": {
		"frequency": "hourly",
		"timeZone": "Africa/Cairo",
		"workdaysOnly": true,
		"startDate": "2022-10-10T10:00:00+02:00",
		"endDate": "2022-11-20T19:00:00+02:00"
	},
	"options": {
		"orientation": "landscape",
		"layout": "grid",
	},
	"enableDashboardUrl": true,
	"state": "scheduled",
	"dashboards": [
		{
			"dashboard": {
				"id": 463,
				"uid": "7MeksYbmk",
				"name": "Alerting with TestData"
			},
			"timeRange": {
				"from": "2022-08-08T15:00:00+02:00",
				"to": "2022-09-02T17:00:00+02:00"
			},
			"reportVariables": {
				"varibale1": "Value1"
			}
		}
	],
	"formats": [
		"pdf",
		"csv"
	]
}"""
DOCUMENTED_TEST_MAIL = "{" + DOCUMENTED_CREATION.replace("texample", "example")
DOCUMENTED_SEND = """{
  "id":"3",
  "useEmailsFromReport": true
}"""
DOCUMENTED_SETTINGS = """{
	"branding": {
		"reportLogoUrl": "https://grafana.com/reportLogo.jpg",
		"emailLogoUrl": "https://grafana.com/emailLogo.jpg",
		"emailFooterMode": "sent-by",
		"emailFooterText": "Grafana Labs",
		"emailFooterLink": "https://grafana.com/"
	}
}"""

#: What the Terraform provider sends when only the required arguments are set.
TERRAFORM_MINIMAL = """
{"dashboards":[{"dashboard":{"uid":"x"},"reportVariables":{},"timeRange":{}}],
 "enableDashboardUrl":true,"formats":["pdf"],"name":"my report",
 "options":{"layout":"grid","orientation":"landscape"},
 "recipients":"some@email.com","schedule":{"frequency":"hourly","timeZone":"GMT"}}
"""
#: And when every argument is.
TERRAFORM_FULL = """
{"dashboards":[{"dashboard":{"uid":"x"},"reportVariables":{"query0":["a","b"],"query1":["c","d"]},
 "timeRange":{"from":"now-1h","to":"now"}}],
 "enableCsv":true,"formats":["csv","image","pdf"],"message":"My message","name":"my report",
 "options":{"layout":"simple","orientation":"portrait"},"recipients":"some@email.com,other@email.com",
 "replyTo":"other@email.com","schedule":{"endDate":"2024-02-28T00:00:00.000-05:00",
 "frequency":"custom","intervalAmount":2,"intervalFrequency":"weeks",
 "startDate":"2024-02-12T20:00:00.000-05:00","timeZone":"America/New_York","workdaysOnly":true}}
"""
#: The hand-written Go client always sends every field, and null for an empty slice.
GO_ALL_FIELDS = """
{"id":0,"userId":0,"orgId":0,"name":"r","recipients":"a@b.c","replyTo":"","message":"",
 "schedule":{"startDate":"2020-01-01T00:00:00Z","endDate":null,"frequency":"monthly",
 "intervalFrequency":"","intervalAmount":0,"workdaysOnly":false,"dayOfMonth":"last","day":"",
 "hour":0,"minute":0,"timeZone":""},
 "options":{"orientation":"landscape","layout":"grid","timeRange":{"from":"","to":""}},
 "enableDashboardUrl":false,"enableCsv":false,"state":"","templateVars":null,"formats":null,
 "dashboards":[{"dashboard":{"id":0,"uid":"x","name":""},"timeRange":{"from":"","to":""},
 "reportVariables":{"a":"text"}}],"scaleFactor":0}
"""


def without_trailing_commas(text: str) -> str:
    """The documentation's examples are not all JSON."""
    return re.sub(r",(\s*})", r"\1", text).replace("{{", "{")


def created(admin, body: str):
    status, answer = admin("POST", "/api/reports", body)
    assert status == 200, answer
    return admin("GET", f"/api/reports/{answer['id']}")[1]


def test_the_documentations_printed_bodies_that_are_no_json_are_refused_with_the_place(admin):
    for body in (DOCUMENTED_CREATION, DOCUMENTED_TEST_MAIL):
        status, answer = admin("POST", "/api/reports", body)
        assert status == 400
        assert re.search(r"line \d+, column \d+", answer["message"])


def test_the_documentations_creation(admin):
    answer = created(admin, without_trailing_commas(DOCUMENTED_CREATION))
    assert answer["schedule"] == {
        "startDate": "2022-10-02T10:00:00+02:00",
        # In November Warsaw is one hour from UTC: the same moment as the one that was sent.
        "endDate": "2022-11-02T19:00:00+01:00",
        "frequency": "daily",
        "intervalFrequency": "",
        "intervalAmount": 0,
        "workdaysOnly": True,
        "dayOfMonth": "",
        "timeZone": "Europe/Warsaw",
    }
    assert answer["dashboards"] == [
        {
            "dashboard": {"id": 463, "uid": "7MeksYbmk", "name": "Alerting with TestData"},
            "timeRange": {"from": "2022-08-08T15:00:00+02:00", "to": "2022-09-02T17:00:00+02:00"},
            "reportVariables": {"varibale1": "Value1"},
        }
    ]
    assert answer["options"] == {"orientation": "landscape", "layout": "grid"}
    assert answer["formats"] == ["pdf", "csv"]
    assert answer["enableDashboardUrl"] is True


def test_the_documentations_update(admin):
    report_id = created(admin, without_trailing_commas(DOCUMENTED_CREATION))["id"]
    body = without_trailing_commas(DOCUMENTED_UPDATE)
    assert admin("PUT", f"/api/reports/{report_id}", body) == (200, {"message": "Report updated"})
    answer = admin("GET", f"/api/reports/{report_id}")[1]
    assert answer["name"] == "Updated Report"
    assert answer["schedule"]["startDate"] == "2022-10-10T10:00:00+02:00"
    assert answer["schedule"]["frequency"] == "hourly"


def test_the_documentations_sending_of_a_mail(admin):
    for _ in range(3):
        created(admin, without_trailing_commas(DOCUMENTED_CREATION))
    status, answer = admin("POST", "/api/reports/email", DOCUMENTED_SEND)
    assert (status, answer["message"]) == (200, "Report was sent")


def test_the_documentations_test_mail(admin):
    body = without_trailing_commas(DOCUMENTED_TEST_MAIL)
    status, answer = admin("POST", "/api/reports/test-email", body)
    assert (status, answer["message"]) == (200, "Test email sent")


def test_the_documentations_settings(admin):
    assert admin("POST", "/api/reports/settings", DOCUMENTED_SETTINGS) == (
        200,
        {"message": "Report settings saved"},
    )
    answer = admin("GET", "/api/reports/settings")[1]
    assert answer["branding"] == {
        "reportLogoUrl": "https://grafana.com/reportLogo.jpg",
        "emailLogoUrl": "https://grafana.com/emailLogo.jpg",
        "emailFooterMode": "sent-by",
        "emailFooterText": "Grafana Labs",
        "emailFooterLink": "https://grafana.com/",
    }


def test_terraforms_smallest_report_comes_back_without_a_difference(admin):
    answer = created(admin, TERRAFORM_MINIMAL)
    assert answer["name"] == "my report"
    assert answer["recipients"] == "some@email.com"
    assert (answer["message"], answer["replyTo"]) == ("", "")
    assert (answer["enableCsv"], answer["enableDashboardUrl"]) == (False, True)
    assert answer["options"] == {"layout": "grid", "orientation": "landscape"}
    assert answer["formats"] == ["pdf"]
    (item,) = answer["dashboards"]
    assert item["dashboard"]["uid"] == "x"
    assert item["timeRange"] == {"from": "", "to": ""}
    assert item["reportVariables"] == {}
    rule = answer["schedule"]
    assert (rule["frequency"], rule["timeZone"]) == ("hourly", "GMT")
    assert (rule["intervalFrequency"], rule["intervalAmount"]) == ("", 0)
    assert rule["startDate"]
    assert rule["endDate"] is None


def test_terraforms_full_report_comes_back_without_a_difference(admin):
    answer = created(admin, TERRAFORM_FULL)
    assert answer["recipients"] == "some@email.com,other@email.com"
    assert answer["replyTo"] == "other@email.com"
    assert answer["message"] == "My message"
    assert answer["enableCsv"] is True
    assert answer["enableDashboardUrl"] is False
    assert sorted(answer["formats"]) == ["csv", "image", "pdf"]
    assert answer["options"] == {"layout": "simple", "orientation": "portrait"}
    assert answer["dashboards"][0]["reportVariables"] == {
        "query0": ["a", "b"],
        "query1": ["c", "d"],
    }
    assert answer["dashboards"][0]["timeRange"] == {"from": "now-1h", "to": "now"}
    assert answer["schedule"] == {
        "startDate": "2024-02-12T20:00:00-05:00",
        "endDate": "2024-02-28T00:00:00-05:00",
        "frequency": "custom",
        "intervalFrequency": "weeks",
        "intervalAmount": 2,
        "workdaysOnly": True,
        "dayOfMonth": "",
        "timeZone": "America/New_York",
    }


def test_terraforms_steps_of_an_update_keep_the_id(admin):
    report_id = created(admin, TERRAFORM_MINIMAL)["id"]
    monthly = TERRAFORM_MINIMAL.replace(
        '"frequency":"hourly"', '"dayOfMonth":"last","frequency":"monthly"'
    )
    for body in (TERRAFORM_FULL, monthly, TERRAFORM_MINIMAL):
        assert admin("PUT", f"/api/reports/{report_id}", body)[0] == 200
        answer = admin("GET", f"/api/reports/{report_id}")[1]
        assert answer["id"] == report_id
    assert (answer["message"], answer["enableCsv"]) == ("", False)
    assert answer["schedule"]["dayOfMonth"] == ""
    assert answer["dashboards"][0]["reportVariables"] == {}


def test_a_go_client_that_sends_every_field_is_understood(admin):
    answer = created(admin, GO_ALL_FIELDS)
    assert answer["formats"] == ["pdf"]
    assert answer["state"] == "scheduled"
    assert answer["schedule"]["dayOfMonth"] == "last"
    assert answer["schedule"]["timeZone"] == "GMT"
    assert answer["dashboards"][0]["reportVariables"] == {"a": "text"}


@pytest.mark.parametrize("field", ["startDate", "endDate"])
def test_gos_zero_time_is_no_date(admin, field):
    body = TERRAFORM_MINIMAL.replace(
        '"timeZone":"GMT"', f'"timeZone":"GMT","{field}":"0001-01-01T00:00:00.000Z"'
    )
    rule = created(admin, body)["schedule"]
    assert rule["startDate"] == "2026-03-04T10:30:00Z"
    assert rule["endDate"] is None


def test_every_field_has_the_json_type_that_generated_clients_expect(admin):
    types = {
        "id": int,
        "uid": str,
        "userId": int,
        "orgId": int,
        "name": str,
        "subject": str,
        "recipients": str,
        "replyTo": str,
        "message": str,
        "schedule": dict,
        "options": dict,
        "enableDashboardUrl": bool,
        "enableCsv": bool,
        "state": str,
        "dashboards": list,
        "formats": list,
        "scaleFactor": int,
        "nextRun": str,
        "created": str,
        "updated": str,
    }
    answer = created(admin, TERRAFORM_MINIMAL)
    assert {name: type(value) for name, value in answer.items()} == types
    assert list(answer) == list(types)
