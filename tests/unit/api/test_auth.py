from __future__ import annotations

import pytest

from api.identity import Identity, by_role
from shared.permissions import ACTIONS, CREATE, DELETE, READ, RENDER, SEND, Permissions, lacking
from shared.settings import Settings


def one_who_may(permissions: Permissions) -> Identity:
    return Identity(org_id=1, who="token:1", name="test", permissions=permissions)


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
    assert one_who_may({READ: [scope]}).may_one(READ, 1) is covers
    assert one_who_may({}).may_one(READ, 1) is False


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
    assert one_who_may({READ: scopes}).readable() == ids


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
    asking = one_who_may({SEND: scopes})
    assert (asking.may_send(None), asking.may_send(1)) == (anything, report_1)


def test_without_the_action_nothing_is_sent() -> None:
    assert not one_who_may({READ: ["*"]}).may_send(1)


def test_an_admin_may_do_everything_and_other_roles_nothing_unless_configured() -> None:
    roles = by_role(Settings())
    admin = one_who_may(roles["Admin"])
    assert all(admin.may(action) for action in ACTIONS)
    assert all(admin.may_all(action) for action in (READ, DELETE, SEND))
    assert set(roles["Editor"]) == set(roles["Viewer"]) == {RENDER}
    editor = one_who_may(by_role(Settings(editor_permissions=(READ, CREATE)))["Editor"])
    assert (editor.may_all(READ), editor.may(CREATE), editor.may(DELETE)) == (True, True, False)


@pytest.mark.parametrize(
    ("wanted", "held", "beyond"),
    [
        ({READ: ["reports:*"]}, {READ: ["*"]}, []),
        ({READ: ["reports:id:4"]}, {READ: ["reports:id:4", "reports:id:5"]}, []),
        ({READ: ["reports:id:4"]}, {READ: ["reports:id:5"]}, [READ]),
        ({READ: ["reports:*"]}, {READ: ["reports:id:5"]}, [READ]),
        ({READ: []}, {READ: ["reports:id:5"]}, [READ]),
        ({CREATE: []}, {CREATE: [""]}, []),
        ({CREATE: []}, {READ: ["*"]}, [CREATE]),
        ({SEND: ["reports:*"]}, {SEND: [""]}, []),
        ({SEND: [""]}, {SEND: ["reports:id:1"]}, [SEND]),
    ],
)
def test_nobody_gives_what_he_has_not(
    wanted: Permissions, held: Permissions, beyond: list[str]
) -> None:
    assert lacking(wanted, held) == beyond
