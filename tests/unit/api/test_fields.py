from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from api.fields import INT64, Body, Flag, Instant, QueryWhole, Text, Variables, Whole
from api.times import shown


class Everything(Body):
    some_text = Text(longest=5)
    some_number = Whole()
    in_query = QueryWhole(low=0)
    is_set = Flag()
    at = Instant()
    values = Variables()


def loaded(**body: Any) -> Any:
    return Everything().load(body)


def test_names_are_the_apis_both_in_json_and_in_python() -> None:
    assert loaded(someText="a", isSet=True) == {"someText": "a", "isSet": True}


def test_null_is_absent_and_unknown_fields_are_ignored() -> None:
    assert loaded(someText=None, at=None, values=None, other=[1]) == {}


@pytest.mark.parametrize("value", [1, True, ["a"], {}, "123456", "a\nb", "a\u2028b"])
def test_a_text_is_a_short_text_without_line_breaks(value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        loaded(someText=value)
    assert list(caught.value.messages_dict) == ["someText"]


@pytest.mark.parametrize("value", ["1", 1.0, True, INT64 + 1, -INT64 - 2, None.__class__, [1]])
def test_a_number_is_a_whole_number_of_64_bits(value: Any) -> None:
    with pytest.raises(ValidationError):
        loaded(someNumber=value)


def test_the_ends_of_64_bits_are_numbers() -> None:
    assert loaded(someNumber=INT64)["someNumber"] == INT64
    assert loaded(someNumber=-INT64 - 1)["someNumber"] == -INT64 - 1


@pytest.mark.parametrize("value", ["", "x", "1_0", "١", "1.0", "+1", " 1", "-1", "1" * 20])
def test_a_number_in_a_query_is_written_in_digits(value: str) -> None:
    with pytest.raises(ValidationError):
        loaded(inQuery=value)
    assert loaded(inQuery="010") == {"inQuery": 10}


@pytest.mark.parametrize("value", ["true", "false", "", 0, 1, "on"])
def test_a_flag_is_true_or_false(value: Any) -> None:
    with pytest.raises(ValidationError):
        loaded(isSet=value)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2024-02-10T20:00:00.000-05:00", dt.datetime(2024, 2, 11, 1, tzinfo=dt.UTC)),
        ("2024-02-10t20:00:00z", dt.datetime(2024, 2, 10, 20, tzinfo=dt.UTC)),
        ("2024-02-10T20:00:00.123456789Z", dt.datetime(2024, 2, 10, 20, 0, 0, 123456, dt.UTC)),
        ("2024-02-10 20:00:00Z", dt.datetime(2024, 2, 10, 20, tzinfo=dt.UTC)),
        ("0001-01-01T00:00:00Z", dt.datetime(1, 1, 1, tzinfo=dt.UTC)),
    ],
)
def test_a_time_is_rfc_3339(text: str, instant: dt.datetime) -> None:
    assert loaded(at=text)["at"] == instant


@pytest.mark.parametrize(
    "value",
    [
        *("", "now", "2024-02-10", "2024-02-10T20:00", "2024-02-10T20:00:00", "20240210T200000Z"),
        *("2024-W06-6T20:00:00Z", "2024-02-30T20:00:00Z", "2024-02-10T20:00:61Z"),
        *("2024-02-10T20:00:00+0100", "2024-02-10T20:00:00+25:00", "٢024-02-10T20:00:00Z"),
        *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", 1_700_000_000, True),
    ],
)
def test_what_is_no_moment_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        loaded(at=value)


@given(st.datetimes(timezones=st.just(dt.UTC)), st.sampled_from(["UTC", "Asia/Kathmandu"]))
def test_a_time_shown_is_read_as_the_same_moment(at: dt.datetime, zone: str) -> None:
    text = shown(at, zone)
    # Local mean time had seconds in its offset, which RFC 3339 cannot say.
    assert text is not None
    if at.year > 1920 and at.year < 9999:
        assert loaded(at=text)["at"] == at


@pytest.mark.parametrize(
    "value", [{"a": "text"}, {"a": ["x", "y"]}, {"a": []}, {"a": 5}, {"a": None}, {}]
)
def test_variables_are_kept_verbatim(value: Any) -> None:
    assert loaded(values=value)["values"] == value


@pytest.mark.parametrize("value", [[], "a", {"a": {}}, {"a": True}, {"a": [["x"]]}, {"a": [None]}])
def test_variables_are_texts_or_lists_of_texts(value: Any) -> None:
    with pytest.raises(ValidationError):
        loaded(values=value)
