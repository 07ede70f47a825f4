"""Lists of e-mail addresses as callers write them: one text, with commas or semicolons."""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.utils import parseaddr

from api.errors import invalid
from api.fields import CONTROL
from shared import domains
from shared.settings import MAX_RECIPIENTS

#: As lenient as the Terraform provider: odd addresses exist, and the mail server knows better.
_ADDRESS = re.compile(r"[^<>]+@[^<>]+\.[^<>]+")


def parse(field: str, text: str, *, most: int = MAX_RECIPIENTS) -> tuple[str, ...]:
    """Split and check; raises `BadRequest` naming the field and the address.

    An address may come with a name: "Ada <ada@example.org>".
    """
    found = tuple(part.strip() for part in re.split("[,;]", text) if part.strip())
    if len(found) > most:
        raise invalid(field, f"must not have more than {most} addresses")
    for address in found:
        bare = parseaddr(address)[1] or address
        if not _ADDRESS.fullmatch(bare) or CONTROL.search(address) or len(address) > 320:
            raise invalid(field, f'"{CONTROL.sub("?", address)[:100]}" is not an e-mail address')
    return found


def check_domains(field: str, found: Sequence[str], rules: Sequence[str]) -> None:
    """Raise `BadRequest` naming the field and the first address to which no mail may go."""
    for address in found:
        if not domains.is_allowed(address, rules):
            raise invalid(
                field,
                f'"{address[:100]}" is in a domain that reports may not go to; '
                "BROADSHEET_ALLOWED_DOMAINS lists those that they may",
            )


def shown(addresses: Sequence[str]) -> str:
    """Join as Grafana does: in order, with commas, without spaces."""
    return ",".join(addresses)
