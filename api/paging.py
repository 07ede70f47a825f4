"""Query parameters of lists. A list stays a bare array: totals and links travel in headers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from flask import Response, request
from marshmallow import ValidationError, pre_load, validate, validates_schema

from api.fields import Body, Choice, QueryWhole, Text
from shared import deliveries, reports, runs

LARGEST_PAGE = 1_000
LARGEST_OFFSET = 2**31

HEADERS = {
    "X-Total-Count": {
        "description": "How many entries there are on all pages.",
        "schema": {"type": "integer"},
    },
    "Link": {
        "description": "The neighbouring pages (RFC 8288), where a page was asked for.",
        "schema": {"type": "string"},
    },
}


class PageQuery(Body):
    """`limit` and `offset`, or Grafana's `page` and `perpage`; not both."""

    limit = QueryWhole(low=1, high=LARGEST_PAGE)
    offset = QueryWhole(low=0, high=LARGEST_OFFSET)
    page = QueryWhole(low=1, high=LARGEST_OFFSET // LARGEST_PAGE)
    perpage = QueryWhole(low=1, high=LARGEST_PAGE)

    @validates_schema
    def _one_way(self, data: Mapping[str, Any], **_: Any) -> None:
        if {"limit", "offset"} & data.keys() and {"page", "perpage"} & data.keys():
            raise ValidationError("use limit and offset, or perpage and page", "limit")


class ReportQuery(PageQuery):
    """Which reports, in which order."""

    state = Choice(*reports.STATES)
    dashboard_uid = Text(longest=200)
    query = Text(longest=200, metadata={"description": "A part of the name."})
    sort = Text(
        validate=[
            validate.OneOf(
                [sign + name for name in reports.SORTS for sign in ("", "-")],
                error="must be one of " + ", ".join(reports.SORTS) + ", with - for descending",
            )
        ],
    )


class OwnQuery(PageQuery):
    """A list of our own: a name that it does not know is a mistake, most often of spelling.

    Lists that Grafana has as well pass over such names, as it does.
    """

    @pre_load
    def _known(self, data: Mapping[str, Any], **_: Any) -> Mapping[str, Any]:
        unknown = [name for name in data if name not in self.fields]
        if unknown:
            known = ", ".join(self.fields)
            raise ValidationError({unknown[0]: [f"is no parameter of this list ({known})"]})
        return data


class DeliveryQuery(OwnQuery):
    """Which deliveries: those in one state, but for `sent`."""

    state = Choice(
        *(state for state in deliveries.STATES if state != deliveries.SENT),
        metadata={"description": "`unknown` if absent."},
    )


class RunQuery(OwnQuery):
    """Which runs of a report."""

    state = Choice(*runs.STATES)
    kind = Choice(*runs.LANES)


def limit(query: Mapping[str, Any], default: int | None = None) -> int | None:
    """Return the size of the page; `default` where none was asked for."""
    size: int | None = query.get("limit", query.get("perpage"))
    if size is None and query.keys() & {"page", "offset"}:
        return default or LARGEST_PAGE
    return size or default


def offset(query: Mapping[str, Any], default: int | None = None) -> int:
    """Return how many entries stand before the page."""
    if "page" in query:
        return (int(query["page"]) - 1) * (limit(query, default) or LARGEST_PAGE)
    return int(query.get("offset", 0))


def headed(
    response: Response, total: int, query: Mapping[str, Any], default: int | None = None
) -> Response:
    """Add the total and, on a page, the links to its neighbours."""
    response.headers["X-Total-Count"] = str(total)
    size, start = limit(query, default), offset(query, default)
    if size is None:
        return response
    steps = {"first": 0, "prev": max(start - size, 0), "next": start + size}
    if start == 0:
        del steps["prev"]
    if start + size >= total:
        del steps["next"]
    kept = {
        name: value
        for name, value in request.args.items()
        if name not in ("limit", "offset", "page", "perpage")
    }
    path = quote(request.path)
    response.headers["Link"] = ", ".join(
        f'<{path}?{urlencode({**kept, "limit": size, "offset": there})}>; rel="{relation}"'
        for relation, there in steps.items()
    )
    return response
