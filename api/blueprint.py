"""flask-smorest's blueprint with our parser, and documentation of errors and permissions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from http import HTTPStatus
from typing import Any, Protocol, TypeVar, cast

import flask_smorest
from marshmallow import Schema

from api.auth import Need
from api.parser import Parser

#: What any route may answer, whatever else it does.
EVERYWHERE = (400, 500, 503)

View = TypeVar("View", bound=Callable[..., Any])


class Decorator(Protocol):
    """Returns a view of the same type as the one it is given."""

    def __call__(self, view: View, /) -> View:
        """Decorate."""


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]  # flask-smorest has no types
    """The routes of one resource, with decorators that keep the type of a view."""

    ARGUMENTS_PARSER = Parser()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._prepare_doc_cbks.append(_document)

    def route(
        self,
        rule: str,
        *,
        methods: Sequence[str],
        parameters: Sequence[Mapping[str, Any]] = (),
    ) -> Decorator:
        """Register the view; `parameters` are documented besides those of the path."""
        register = super().route(rule, methods=list(methods), parameters=list(parameters))

        def decorate(view: View) -> View:
            head, *rest = view.__name__.split("_")
            note(
                view,
                operation=head + "".join(word.title() for word in rest),
                need=getattr(view, "need", None),
            )
            register(view)
            return view

        return decorate

    def arguments(
        self,
        schema: type[Schema] | Schema,
        *,
        location: str = "json",
        example: Mapping[str, Any] | None = None,
    ) -> Decorator:
        """Read the body or the query, and pass it as the first argument."""
        found = super().arguments(schema, location=location, example=example)
        return cast("Decorator", found)

    def answers(
        self,
        status: int,
        schema: type[Schema] | Schema | Mapping[str, Any] | None = None,
        *,
        content_type: str | None = None,
        description: str | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> Decorator:
        """Document an answer. The view builds it; a schema only describes it."""
        found = self.alt_response(
            status,
            schema=schema,
            content_type=content_type,
            description=description,
            headers=headers,
        )
        return cast("Decorator", found)

    def fails(self, *statuses: int) -> Decorator:
        """Document the errors of a route besides those that every route has."""

        def decorate(view: View) -> View:
            note(view, fails=statuses)
            return view

        return decorate


def note(view: Callable[..., Any], **about: Any) -> None:
    """Add to what flask-smorest collects about a view, in the attribute it uses."""
    view._apidoc = deepcopy(getattr(view, "_apidoc", {})) | about  # type: ignore[attr-defined]  # noqa: SLF001 - flask-smorest's own attribute


def _document(doc: dict[str, Any], doc_info: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add the errors and the security of one operation; called by flask-smorest."""
    doc["operationId"] = doc_info["operation"]
    need: Need | None = doc_info["need"]
    statuses = {*EVERYWHERE, *doc_info.get("fails", ())}
    if "requestBody" in doc:
        statuses.add(413)
    if need is not None and not need.of_somebody:
        doc["security"] = []
        doc["x-permission"] = str(need)
    elif need is not None:
        statuses |= {401, 403, 429} if need.action else {401, 429}
        doc["security"] = [{"token": []}, {"user": []}]
        doc["x-permission"] = str(need)
        texts = doc_info["docstring"]
        texts["description"] = "\n\n".join(
            filter(None, [texts.get("description"), f"Permission: {need}."])
        )
    responses = doc.setdefault("responses", {})
    # The parser's own entry is keyed by a number.
    responses.pop(400, None)
    for status in sorted(statuses):
        responses.setdefault(str(status), HTTPStatus(status).name)
    doc["responses"] = dict(sorted(responses.items(), key=lambda item: str(item[0])))
    return doc
