"""Strict fields for marshmallow: a number is a number, a text is a text, null means absent."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, pre_load, validate

INT64 = 2**63 - 1

#: Of one dashboard; a value beyond that would not fit into the address of a page.
MAX_VARIABLES = 100
MAX_VALUES = 1_000
LONGEST_NAME = 200
LONGEST_VALUE = 2_000

_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?([Zz]|[+-][0-2]\d:[0-5]\d)",
    re.ASCII,
)
_DIGITS = re.compile(r"-?\d{1,19}", re.ASCII)
#: What is no part of one line of text.
CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")


class Body(Schema):
    """A JSON object in the API's words: `enable_csv` is read from and kept as `enableCsv`.

    Unknown fields are ignored, and null is the same as absent: it is what Go's encoder makes of
    an empty pointer or slice.
    """

    error_messages = {"type": "must be a JSON object"}  # noqa: RUF012 - marshmallow's own way

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Name the field as the API does, in JSON, in errors and in what `load` returns."""
        head, *rest = field_name.split("_")
        field_obj.data_key = field_obj.attribute = head + "".join(word.title() for word in rest)
        field_obj.allow_none = not field_obj.required

    @pre_load
    def _null_is_absent(self, data: Any, **_: Any) -> Any:
        if isinstance(data, dict):
            return {name: value for name, value in data.items() if value is not None}
        return data

    class Meta:
        """Ignore what we do not know: clients are of many versions."""

        unknown = "exclude"


class Text(fields.String):
    """A JSON string of at most `longest` characters; `line`: without line breaks and the like."""

    default_error_messages = {"invalid": "must be text", "null": "must be text"}  # noqa: RUF012 - marshmallow's own way

    def __init__(self, *, longest: int = 1_000, line: bool = True, **kwargs: Any) -> None:
        validators: list[Any] = [validate.Length(max=longest, error=_longest(longest))]
        if line:
            validators.append(_one_line)
        validators += kwargs.pop("validate", [])
        super().__init__(validate=validators, **kwargs)


def _longest(longest: int) -> str:
    return f"must not be longer than {longest} characters"


def _one_line(text: str) -> None:
    if CONTROL.search(text):
        raise ValidationError("must not contain line breaks or control characters")


class Choice(Text):
    """One of a few words, or empty."""

    def __init__(self, *choices: str, **kwargs: Any) -> None:
        words = ", ".join(f'"{choice}"' for choice in choices)
        super().__init__(
            validate=[validate.OneOf([*choices, ""], error=f"must be one of {words}")], **kwargs
        )


class Whole(fields.Integer):
    """A JSON number without a fraction, within int64 unless bounds are given."""

    default_error_messages = {"invalid": "must be a whole number"}  # noqa: RUF012 - marshmallow's own way

    def __init__(self, *, low: int = -INT64 - 1, high: int = INT64, **kwargs: Any) -> None:
        error = f"must be a whole number from {low} to {high}"
        super().__init__(
            strict=True, validate=validate.Range(min=low, max=high, error=error), **kwargs
        )

    def _validated(self, value: Any) -> int:
        # Not marshmallow's own: that takes 3.0 and, from strings, whatever int() takes.
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.make_error("invalid", input=value)
        return value


class QueryWhole(Whole):
    """A whole number written in a query string."""

    def _validated(self, value: Any) -> int:
        if not isinstance(value, str) or not _DIGITS.fullmatch(value):
            raise self.make_error("invalid", input=value)
        return int(value)


class Flag(fields.Boolean):
    """true or false, and nothing that looks like it."""

    default_error_messages = {"invalid": "must be true or false"}  # noqa: RUF012 - marshmallow's own way

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> bool:
        del attr, data, kwargs
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Instant(fields.DateTime):
    """A moment as RFC 3339 with an offset, loaded as an aware datetime in UTC."""

    default_error_messages = {  # noqa: RUF012 - marshmallow's own way
        "invalid": 'must be a time with an offset such as "2024-01-31T08:00:00+01:00"'
    }

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> dt.datetime:
        del attr, data, kwargs
        return self.parse(value)

    def parse(self, value: Any) -> dt.datetime:
        """Read one value. Raises `ValidationError`."""
        if not isinstance(value, str) or not _RFC3339.fullmatch(value):
            raise self.make_error("invalid", input=value)
        try:
            return dt.datetime.fromisoformat(value.upper()).astimezone(dt.UTC)
        except (ValueError, OverflowError) as exc:
            raise self.make_error("invalid", input=value) from exc


class TextList(fields.List[str]):
    """A JSON array of texts."""

    default_error_messages = {"invalid": "must be a list"}  # noqa: RUF012 - marshmallow's own way

    def __init__(self, *, most: int, longest: int = 64, **kwargs: Any) -> None:
        super().__init__(Text(longest=longest), validate=_at_most(most), **kwargs)


class ObjectList(fields.List[Any]):
    """A JSON array of objects of one schema."""

    default_error_messages = {"invalid": "must be a list"}  # noqa: RUF012 - marshmallow's own way

    def __init__(self, schema: type[Schema], *, most: int, **kwargs: Any) -> None:
        inner = Object(schema)
        super().__init__(inner, validate=_at_most(most), **kwargs)


def _at_most(most: int) -> validate.Length:
    return validate.Length(max=most, error=f"must not have more than {most} entries")


class Object(fields.Nested):
    """A JSON object of one schema."""

    default_error_messages = {  # noqa: RUF012 - marshmallow's own way
        "type": "must be a JSON object",
        "null": "must be a JSON object",
    }


class Variables(fields.Dict):
    """Template variables, name → text or list of texts, kept exactly as they came."""

    default_error_messages = {"invalid": "must be a JSON object"}  # noqa: RUF012 - marshmallow's own way

    def __init__(self, **kwargs: Any) -> None:
        described = {
            "maxProperties": MAX_VARIABLES,
            "propertyNames": {"maxLength": LONGEST_NAME},
            "additionalProperties": {
                "type": ["string", "number", "array", "null"],
                "maxLength": LONGEST_VALUE,
                "maxItems": MAX_VALUES,
                "items": {"type": ["string", "number"], "maxLength": LONGEST_VALUE},
            },
        }
        super().__init__(metadata={**described, **kwargs.pop("metadata", {})}, **kwargs)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> dict[str, Any]:
        del attr, data, kwargs
        if not isinstance(value, dict):
            raise self.make_error("invalid")
        if len(value) > MAX_VARIABLES:
            raise ValidationError(f"must not have more than {MAX_VARIABLES} variables")
        if any(len(name) > LONGEST_NAME for name in value):
            raise ValidationError(f"must not have names longer than {LONGEST_NAME} characters")
        faults = {name: [fault] for name, item in value.items() if (fault := _amiss(item))}
        if faults:
            raise ValidationError(faults)
        return value


def _amiss(item: Any) -> str:
    """Say what is wrong with the value of a variable; empty: nothing."""
    if item is None:
        return ""
    values = item if isinstance(item, list) else [item]
    if not all(map(_is_scalar, values)):
        return "must be text or a list of texts"
    if len(values) > MAX_VALUES:
        return f"must not have more than {MAX_VALUES} values"
    if any(isinstance(value, str) and len(value) > LONGEST_VALUE for value in values):
        return _longest(LONGEST_VALUE)
    return ""


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)
