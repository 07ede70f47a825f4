"""To which domains mail may go: `BROADSHEET_ALLOWED_DOMAINS`.

As Grafana's `allowed_domains`, a list of exact domains in which `*` is any. Besides,
`*.example.org` is every domain below `example.org`, and not that one itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import parseaddr

import idna


def is_allowed(address: str, rules: Sequence[str]) -> bool:
    """Whether mail may go to an address, which may come with a name: "Ada <ada@example.org>"."""
    if "*" in rules:
        return True
    bare = parseaddr(address)[1] or address
    domain = _plain(bare.rpartition("@")[2])
    return any(_covers(rule, domain) for rule in rules)


def _covers(rule: str, domain: str) -> bool:
    if rule.startswith("*."):
        return domain.endswith(f".{_plain(rule[2:])}")
    return domain == _plain(rule)


def _plain(domain: str) -> str:
    """Return a domain as mail servers compare it: `Bücher.example.` is `xn--bcher-kva.example`."""
    name = domain.strip().rstrip(".").lower()
    try:
        return idna.encode(name, uts46=True).decode()
    except idna.IDNAError:
        # Underscores and the like, which are no part of a name and yet in use.
        return name
