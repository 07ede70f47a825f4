"""Reading what a caller sent: strict JSON, strict query strings, errors that name the field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from flask import Request
from marshmallow import Schema, ValidationError
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from api.errors import invalid, sentence

#: Deeper than any report; what is stored verbatim is read again by other programs.
MAX_DEPTH = 32
#: So much of a name is told in an error.
LONGEST_NAME = 100


class Parser(FlaskParser):
    """webargs with our JSON reader, and 400 for whatever does not fit."""

    DEFAULT_VALIDATION_STATUS = 400

    def load_json(self, req: Request, schema: Schema) -> Any:  # noqa: ARG002 - webargs' signature
        """Return the body as plain values. Raises `BadRequest`."""
        return read_json(req)

    def handle_error(  # noqa: D102 - documented by webargs
        self,
        error: ValidationError,
        req: Request,  # noqa: ARG002 - webargs' signature
        schema: Schema,  # noqa: ARG002 - webargs' signature
        *,
        error_status_code: int | None,  # noqa: ARG002 - webargs' signature
        error_headers: Mapping[str, str] | None,  # noqa: ARG002 - webargs' signature
    ) -> NoReturn:
        # webargs puts where the data came from ("json", "query") around the messages.
        raise BadRequest("; ".join(sentence(part) for part in error.messages_dict.values()))


def read_json(request: Request) -> Any:
    """Return the JSON body of a request; raise `BadRequest` with a sentence saying what is wrong.

    Grafana answers 400, not 415, to a missing content type.
    """
    if not request.is_json:
        raise BadRequest("Content-Type: must be application/json")
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise BadRequest("Content-Type: the charset of JSON is utf-8")
    return parse_json(_body(request))


def _body(request: Request) -> bytes:
    most = request.max_content_length
    too_large = RequestEntityTooLarge(f"The body is larger than {most} bytes")
    try:
        body = request.get_data()
    except RequestEntityTooLarge as exc:
        raise too_large from exc
    # Of a body that does not tell its length, werkzeug reads as much as is allowed, and no more.
    if request.content_length is None and most is not None and len(body) >= most:
        raise too_large
    return body


def parse_json(content: bytes | str) -> Any:
    """Parse one JSON value. Raises `BadRequest` for what is not strictly JSON or not storable."""
    try:
        text = content.decode() if isinstance(content, bytes) else content
        value = json.loads(
            text,
            parse_constant=_no_constant,
            parse_float=_finite,
            object_pairs_hook=_no_duplicates,
        )
    except UnicodeDecodeError as exc:
        raise BadRequest("The body is not JSON: it is not encoded as UTF-8") from exc
    except RecursionError as exc:
        raise BadRequest(f"The JSON is nested more than {MAX_DEPTH} levels deep") from exc
    except json.JSONDecodeError as exc:
        raise BadRequest(
            f"The body is not JSON: {exc.msg} (line {exc.lineno}, column {exc.colno})"
        ) from exc
    except ValueError as exc:  # also a number of more digits than Python converts
        raise BadRequest(f"The body is not JSON: {exc}") from exc
    _check_texts(value)
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{digits[:40]} is too large a number")
    return number


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        # Not by counting each: of very many names that takes their square.
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]  # adding is what is meant
        raise ValueError(f"the name {json.dumps(twice[:40])} occurs twice in one object")
    return found


#: How an item was reached: the path before it, and its name or number there.
_Path = tuple["_Path", str | int] | None


def _check_texts(value: Any) -> None:
    """Refuse what Postgres cannot hold: NUL and lone surrogates, in names and in values."""
    # Not recursive: the depth is one of the things to be checked. And paths are written only
    # where they are told: a long name above many values would fill the memory.
    waiting: list[tuple[_Path, int, Any]] = [(None, 0, value)]
    while waiting:
        path, depth, item = waiting.pop()
        if depth > MAX_DEPTH:
            raise BadRequest(f"The JSON is nested more than {MAX_DEPTH} levels deep")
        if isinstance(item, str) and (fault := unstorable(item)):
            raise invalid(_written(path), fault)
        if isinstance(item, dict):
            for name, inner in item.items():
                if fault := unstorable(name):
                    raise invalid(_written(path), f"a name {fault}")
                waiting.append(((path, name), depth + 1, inner))
        elif isinstance(item, list):
            waiting += [((path, n), depth + 1, inner) for n, inner in enumerate(item)]


def _written(path: _Path) -> str:
    text = ""
    while path is not None:
        path, step = path
        text = f"[{step}]{text}" if isinstance(step, int) else f".{step[:LONGEST_NAME]}{text}"
    return text.removeprefix(".") or "The body"


def unstorable(text: str) -> str | None:
    """Say what is wrong with a text that no database holds; None for any other."""
    if "\0" in text:
        return "must not contain the character NUL"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "must not contain half of a surrogate pair"
    return None
