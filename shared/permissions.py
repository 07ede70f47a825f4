"""What somebody may do with reports: Grafana's actions, scopes and fixed roles. Pure.

Permissions are action → scopes, as Grafana's access control shows them. Names and defaults of
Grafana's own are from its documentation of reporting and of role-based access control; those for
tokens, the audit and rendering are ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

Permissions = Mapping[str, Sequence[str]]

(
    READ,
    CREATE,
    WRITE,
    DELETE,
    SEND,
    SETTINGS_READ,
    SETTINGS_WRITE,
    TOKENS_READ,
    TOKENS_WRITE,
    AUDIT_READ,
    RENDER,
) = ACTIONS = (
    "reports:read",
    "reports:create",
    "reports:write",
    "reports:delete",
    "reports:send",
    "reports.settings:read",
    "reports.settings:write",
    "reports.tokens:read",
    "reports.tokens:write",
    "reports.audit:read",
    "reports:render",
)
#: Those that concern a report that is there, and so may be narrowed to some reports.
SCOPED_ACTIONS = (READ, WRITE, DELETE, SEND)
#: As Grafana's older releases call some of them; its clients' texts still do.
FORMER_NAMES = {
    "reports.admin:create": CREATE,
    "reports.admin:write": WRITE,
    "reports.delete": DELETE,
}

#: What Grafana shows for an action without scope.
UNSCOPED = ""
EVERY_REPORT = ("*", "reports:*", "reports:id:*")
#: A scope as we take it; Grafana's documentation also prints `reports:1` for a single report.
SCOPE = re.compile(r"\*|reports:\*|reports:id:\*|reports:(?:id:)?[1-9]\d{0,17}", re.ASCII)
_ONE_REPORT = re.compile(r"reports:(?:id:)?([1-9]\d{0,17})", re.ASCII)

ADMIN, EDITOR, VIEWER = ROLES = ("Admin", "Editor", "Viewer")
_READER = (READ, SEND, SETTINGS_READ)
#: What a role may be given by one name, besides single actions.
FIXED_ROLES: Mapping[str, Sequence[str]] = {
    "fixed:reports:reader": _READER,
    "fixed:reports:writer": (*_READER, CREATE, WRITE, DELETE, SETTINGS_WRITE),
}


def fault(action: str, scopes: Sequence[str]) -> str:
    """Say what is wrong with an action and its scopes; "" where nothing is."""
    if action not in ACTIONS:
        return f"{action[:100]!r} is none of {', '.join(ACTIONS)}."
    if scopes and action not in SCOPED_ACTIONS:
        return f"{action} concerns no single report and takes no scope."
    for scope in scopes:
        if not SCOPE.fullmatch(scope):
            return f"{scope[:100]!r} is not a scope such as reports:* or reports:id:4."
    return ""


def least_scope(action: str) -> str:
    """Return the scope that an action has which was given without one: every report."""
    return "reports:*" if action in SCOPED_ACTIONS else UNSCOPED


def of_actions(actions: Iterable[str]) -> Permissions:
    """Return the permission of these actions, for every report where they concern reports."""
    return {action: (least_scope(action),) for action in actions}


def joined(*all_of_them: Permissions) -> Permissions:
    """Return what any of the permissions allows."""
    found: dict[str, tuple[str, ...]] = {}
    for permissions in all_of_them:
        for action, scopes in permissions.items():
            found[action] = tuple(dict.fromkeys((*found.get(action, ()), *scopes)))
    return found


def of_reporting(permissions: Permissions) -> Permissions:
    """Return those of ours among what Grafana says that somebody may do."""
    named = [
        {FORMER_NAMES.get(action, action): tuple(scopes)} for action, scopes in permissions.items()
    ]
    return joined(*({a: s for a, s in one.items() if a in ACTIONS} for one in named))


def covers_all(permissions: Permissions, action: str) -> bool:
    """Whether the action is granted for every report."""
    return any(scope in EVERY_REPORT for scope in permissions.get(action, ()))


def single(permissions: Permissions, action: str) -> list[int]:
    """Return the ids of the reports for which the action is granted one by one."""
    scopes = map(_ONE_REPORT.fullmatch, permissions.get(action, ()))
    return [int(scope[1]) for scope in scopes if scope]


def lacking(wanted: Permissions, held: Permissions) -> list[str]:
    """Return the actions of `wanted` that go beyond `held`: nobody may give what he has not."""
    found = []
    for action, scopes in wanted.items():
        if action not in held:
            found.append(action)
        elif action in SCOPED_ACTIONS and not covers_all(held, action):
            whole = not scopes or any(scope in (UNSCOPED, *EVERY_REPORT) for scope in scopes)
            of_send = action == SEND and UNSCOPED in (held[SEND] or (UNSCOPED,))
            beyond = set(single(wanted, action)) - set(single(held, action))
            if not of_send and (whole or beyond):
                found.append(action)
    return found
