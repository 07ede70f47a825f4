"""Lists of e-mail addresses as callers write them: one text, with commas or semicolons."""

from __future__ import annotations

import re
from collections.abc import Sequence

from api.errors import invalid
from api.schemas import MAX_RECIPIENTS

#: As lenient as the Terraform provider: odd addresses exist, and the mail server knows better.
_ADDRESS = re.compile(r".+@.+\..+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")


def parse(field: str, text: str) -> tuple[str, ...]:
    """Split and check; raises `BadRequest` naming the field and the address."""
    found = tuple(part.strip() for part in re.split("[,;]", text) if part.strip())
    if len(found) > MAX_RECIPIENTS:
        raise invalid(field, f"must not have more than {MAX_RECIPIENTS} addresses")
    for address in found:
        if not _ADDRESS.fullmatch(address) or _CONTROL.search(address) or len(address) > 320:
            raise invalid(field, f'"{_CONTROL.sub("?", address)[:100]}" is not an e-mail address')
    return found


def shown(addresses: Sequence[str]) -> str:
    """Join as Grafana does: in order, with commas, without spaces."""
    return ",".join(addresses)
