"""Throw made-up requests at the app, and see what it must never answer.

Most are made from its own description, right and wrong; others from no description at all.
"""

from __future__ import annotations

import re
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.fuzz.scene import CANARY, IMAGES, LINK, Scene
from tests.integration.api.fakes import report_body
from tests.pictures import picture

#: Seconds after which a request counts as hung; none takes a tenth of it.
HUNG = 10
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
#: Bodies that are right, of which random parts are replaced.
RIGHT: Mapping[str, dict[str, Any]] = {
    "/api/reports/email": {"id": "1", "useEmailsFromReport": True},
    "/api/reports/settings": {},
    "/api/reports/schedule/preview": {"schedule": {"frequency": "daily"}},
    "/api/reports/tokens": {"name": "t", "role": "Viewer"},
    "/api/reports/runs/{run_id}/deliveries/{delivery_id}/resolve": {"as": "again"},
}
#: What changes report 1 comes after what looks at it, and what deletes it last.
LAST = {"PUT": 1, "DELETE": 2}

#: Texts that are no JSON, or more of it than anybody sends.
BODIES = (
    *(b"", b"{", b"null", b"[]", b"nan", b'{"name": NaN}', b'{"a":1,"a":2}', b"\xff\xfe", b"\x00"),
    *(b"[" * 100_000, b'{"a":' * 50_000, b'{"name":"' + b"x" * 900_000 + b'"}'),
    *(b'{"scaleFactor":1e999}', b'{"scaleFactor":' + b"9" * 5_000 + b"}", b'"\\ud800"'),
    *(b'{"name":"\\ud800"}', b'{"name":"\\u0000"}', b'{"schedule":{"startDate":"9999-12-31"}}'),
    b"{" + b",".join(b'"k%d":0' % number for number in range(20_000)) + b"}",
)
SEGMENTS = (
    *("1", "2", "0", "-1", "9" * 30, "..", "%2e%2e", "%00", "%0d%0aX:1", "x" * 2_000, "'", "*"),
    *("runs", "documents", "tokens", "settings", "email", "render", "pdfs", "audit", "dashboards"),
    *("cancel", "deliveries", "resolve", "pause", "images", ":image", "%F0%9F%98%80", "%ff"),
)
LONG = "x" * 9_000
HEADERS = {
    "Authorization": ("Bearer", "Bearer  ", "Basic !", "Basic Og==", "Bearer bst_", "\xff", LONG),
    "X-Grafana-Org-Id": ("0", "1", "2", "-1", "9" * 40, "one", "1,2", "\xb2"),
    "Content-Type": ("", "application/json", "text/plain", "application/json; charset=utf-16", "/"),
    "Idempotency-Key": ("k", "", "x" * 300, "\xe9"),
    "Prefer": ("respond-async", "wait=0", ","),
    "X-Forwarded-For": ("::1", "x", "1.2.3.4, 5.6.7.8"),
    "X-Forwarded-Prefix": ("/evil", "//evil.example"),
    "Range": ("bytes=0-", "bytes=9-1"),
    "If-None-Match": ("*", '"x"'),
}  # fmt: skip


@dataclass
class Found:
    """How many requests there were, by status; and what went wrong, one line each."""

    statuses: Counter[int] = field(default_factory=Counter)
    by_operation: dict[str, Counter[int]] = field(default_factory=dict)
    slowest: float = 0.0

    @property
    def requests(self) -> int:
        """How many there were."""
        return self.statuses.total()


class Hung(AssertionError):
    """A request took longer than any may."""


def throw(scene: Scene, *, requests: int, seed: int) -> Found:
    """Send about so many requests. Raises `AssertionError` with the first that went wrong."""
    schema = schemathesis.openapi.from_wsgi("/api/openapi.json", scene.app)
    operations = [result.ok() for result in schema.get_all_operations()]
    operations.sort(key=_place)
    found = Found()
    # A fifth of them without a description; those may delete what the others look at.
    each = max(1, requests * 4 // 5 // len(operations))
    *most, last = operations
    for operation in most:
        _rounds(_described(scene, operation, found), examples=each, seed=seed)
    _rounds(_wild(scene, found), examples=max(1, requests // 5), seed=seed)
    _rounds(_described(scene, last, found), examples=each, seed=seed)
    return found


def _place(operation: Any) -> int:
    """When its turn is; the callers' own tokens are revoked at the very end."""
    return 3 if "token_id" in operation.path else LAST.get(operation.method.upper(), 0)


def _rounds(check: Any, *, examples: int, seed: int) -> None:
    settings = hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    hypothesis.seed(seed)(settings(check))()


def _described(scene: Scene, operation: Any, found: Found) -> Any:
    strategy = operation.as_strategy() | operation.as_strategy(
        generation_mode=schemathesis.GenerationMode.NEGATIVE
    )
    statuses = found.by_operation.setdefault(operation.label, Counter())

    @given(case=strategy, data=st.data())
    def check(case: Any, data: Any) -> None:
        if data.draw(st.integers(0, 2)):
            _steer(case, data)
        # The admin every second time, so that most of it is let in.
        name = data.draw(st.sampled_from([*scene.callers, *["admin"] * len(scene.callers)]))
        with _watched(found):
            answer = case.call_and_validate(headers=dict(scene.callers[name]), checks=CHECKS)
        _judge(scene, name, answer.content, f"{case.method} {case.formatted_path}")
        statuses[answer.status_code] += 1
        found.statuses[answer.status_code] += 1

    return check


def _steer(case: Any, data: Any) -> None:
    """Bring a made-up request near to one that is right."""
    if case.path_parameters:
        ids = {name for name in case.path_parameters if name.endswith("_id")}
        number = data.draw(st.sampled_from([1, 1, 2]))
        case.path_parameters = {**case.path_parameters, **dict.fromkeys(ids, number)}
        if "image" in case.path_parameters:
            case.path_parameters = {**case.path_parameters, "image": IMAGES[number]}
    if case.operation.path == "/api/reports/images" and case.method == "POST":
        case.body, case.media_type = picture(), "image/png"
    if case.operation.path == "/api/reports/documents/{document_id}":
        case.query = dict(LINK)
    if isinstance(case.body, dict):
        right = RIGHT.get(case.operation.path, report_body())
        names = sorted(map(str, case.body)) or [""]
        wild = data.draw(st.sets(st.sampled_from(names), max_size=2))
        case.body = {**right, **{name: case.body[name] for name in wild if name in case.body}}


def _wild(scene: Scene, found: Found) -> Any:
    """Requests that nobody described: odd addresses, headers and bodies."""
    paths = st.lists(st.sampled_from(SEGMENTS) | st.text(max_size=20), max_size=5)
    headers = st.fixed_dictionaries(
        {}, optional={name: st.sampled_from(values) for name, values in HEADERS.items()}
    )

    @given(
        method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "X"]),
        segments=paths,
        query=st.dictionaries(st.text(max_size=10), st.text(max_size=30), max_size=3),
        odd=headers,
        body=st.sampled_from(BODIES) | st.binary(max_size=200),
        name=st.sampled_from(sorted(scene.callers)),
    )
    def check(
        method: str,
        segments: list[str],
        query: dict[str, str],
        odd: dict[str, str],
        body: bytes,
        name: str,
    ) -> None:
        # A `?` or `#` would end it, and lone surrogates cannot be sent at all.
        path = re.sub("[?#]", "", "/api/reports/" + "/".join(segments))
        path = path.encode("utf-8", "replace").decode()
        sent = {**scene.callers[name], **odd}
        with _watched(found):
            answer = scene.app.test_client().open(
                path,
                method=method,
                headers={
                    key: value.encode("latin-1", "replace").decode("latin-1")
                    for key, value in sent.items()
                },
                query_string={
                    key.encode("utf-8", "replace"): value.encode("utf-8", "replace")
                    for key, value in query.items()
                },
                data=body,
            )
        told = f"{method} {path!r} {odd} {body[:60]!r} as {name}"
        assert answer.status_code < 500, f"{answer.status_code}: {told}: {answer.text[:300]}"
        # Who shows other credentials is somebody else.
        if "Authorization" not in odd and "X-Grafana-Org-Id" not in odd:
            _judge(scene, name, answer.data, told)
        if answer.status_code >= 400 and method != "HEAD":
            assert isinstance(answer.json, dict), told
            assert answer.json["message"], told
        answer.close()
        found.statuses[answer.status_code] += 1

    return check


def _judge(scene: Scene, name: str, content: bytes | None, told: str) -> None:
    """What organisation 1 has is shown to nobody else, but by the link of its mail.

    What a caller sent himself has no canary.
    """
    if name not in scene.ours and "/api/reports/documents/" not in told:
        assert CANARY.encode() not in (content or b""), f"{told} as {name} shows {content!r}"


@contextmanager
def _watched(found: Found) -> Iterator[None]:
    """Raise `Hung` in a request that takes too long; note how long it took."""

    def ring(_: int, __: FrameType | None) -> None:
        raise Hung(f"A request took longer than {HUNG} s.")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(HUNG)
    began = time.monotonic()
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        found.slowest = max(found.slowest, time.monotonic() - began)
