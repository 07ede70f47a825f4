from __future__ import annotations

import pytest

from api.auth import ACTIONS, READ, ROLES, SEND, Identity


@pytest.mark.parametrize(
    ("scope", "covers"),
    [
        ("*", True),
        ("reports:*", True),
        ("reports:id:*", True),
        ("reports:id:1", True),
        ("reports:1", True),
        ("reports:id:2", False),
        ("reports:id:11", False),
        ("reports:id:1*", False),
        ("reports:id:", False),
        ("dashboards:*", False),
        ("", False),
    ],
)
def test_a_scope_covers_a_report_as_in_grafana(scope: str, covers: bool) -> None:
    assert Identity(1, 0, {READ: [scope]}).may_one(READ, 1) is covers
    assert Identity(1, 0, {}).may_one(READ, 1) is False


@pytest.mark.parametrize(
    ("scopes", "ids"),
    [
        (["*"], None),
        (["reports:id:4", "reports:id:*"], None),
        (["reports:id:4", "reports:5"], [4, 5]),
        (["reports:id:x", "reports:id:0", "dashboards:*", "dashboards:5", ""], []),
        ([f"reports:id:{10**30}"], []),
    ],
)
def test_the_readable_reports_are_those_of_the_scopes(
    scopes: list[str], ids: list[int] | None
) -> None:
    assert Identity(1, 0, {READ: scopes}).readable() == ids


@pytest.mark.parametrize(
    ("scopes", "anything", "report_1"),
    [
        ([], True, True),
        ([""], True, True),
        (["reports:*"], True, True),
        (["reports:id:1"], False, True),
        (["reports:id:2"], False, False),
    ],
)
def test_sending_needs_no_scope_but_heeds_one(
    scopes: list[str], anything: bool, report_1: bool
) -> None:
    asking = Identity(1, 0, {SEND: scopes})
    assert (asking.may_send(None), asking.may_send(1)) == (anything, report_1)


def test_without_the_action_nothing_is_sent() -> None:
    assert not Identity(1, 0, {READ: ["*"]}).may_send(1)


def test_an_admin_may_do_everything_and_other_roles_nothing() -> None:
    admin = Identity(1, 0, ROLES["Admin"])
    assert all(admin.may_all(action) for action in ACTIONS)
    assert ROLES["Editor"] == ROLES["Viewer"] == {}
