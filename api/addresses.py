"""Lists of e-mail addresses as callers write them: one text, with commas or semicolons."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from email.utils import parseaddr

from api.errors import invalid
from api.fields import CONTROL
from shared import domains
from shared.settings import MAX_RECIPIENTS

#: As lenient as the Terraform provider: odd addresses exist, and the mail server knows better.
LONGEST = 320
MOST_COMMENTS = 5
#: Some scripts cannot be written without.
JOINERS = "\u200c\u200d"
_ADDRESS = re.compile(r"[^<>]+@[^<>]+\.[^<>]+")


def parse(field: str, text: str, *, most: int = MAX_RECIPIENTS) -> tuple[str, ...]:
    """Split and check; raises `BadRequest` naming the field and the address.

    An address may come with a name: "Ada <ada@example.org>".
    """
    found = tuple(part.strip() for part in re.split("[,;]", text) if part.strip())
    if len(found) > most:
        raise invalid(field, f"must not have more than {most} addresses")
    for address in found:
        if not _is_address(address):
            shown = "".join("?" if _is_unseen(letter) else letter for letter in address[:100])
            raise invalid(field, f'"{shown}" is not an e-mail address')
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


def _is_address(address: str) -> bool:
    # The length first: the pattern and `parseaddr` take long over long ones, which may be made to.
    if len(address) > LONGEST or address.count("(") > MOST_COMMENTS:
        return False
    if CONTROL.search(address) or any(map(_is_unseen, address)):
        return False
    return bool(_ADDRESS.fullmatch(parseaddr(address)[1] or address))


def _is_unseen(letter: str) -> bool:
    """Whether it shows nothing, but may turn around what stands beside it."""
    return letter not in JOINERS and unicodedata.category(letter) in ("Cc", "Cf", "Zl", "Zp")


def shown(addresses: Sequence[str]) -> str:
    """Join as Grafana does: in order, with commas, without spaces."""
    return ",".join(addresses)
