"""Limits on how often somebody may call: 429 with Retry-After, naming the setting.

Two of them: calls that render or mail, per caller; and failed authentications, per address of
the client, so that nobody guesses passwords through us.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable
from typing import TypeVar

from flask import Request
from werkzeug.exceptions import TooManyRequests, Unauthorized

from api.services import services
from shared import db, log, rates, tokens
from shared.settings import Rate

logger = log.get(__name__)

T = TypeVar("T")


class TooOften(TooManyRequests):
    """Another call is welcome after so many seconds."""

    def __init__(self, what: str, rate: Rate, variable: str, wait: float) -> None:
        self.seconds = math.ceil(wait)
        super().__init__(
            f"{what}: more than {rate} ({variable}); try again in {self.seconds} s",
            retry_after=self.seconds,
        )


def count(caller: str) -> None:
    """Count a call that renders or mails; raise `TooOften` when the caller has had its share."""
    rate = services().settings.rate_limit
    if rate is None:
        return
    with db.transaction(services().pool) as conn:
        wait = rates.take(conn, f"calls {caller}", rate)
    if wait:
        logger.info("api.too_often", caller=caller, limit=str(rate), after=math.ceil(wait))
        raise TooOften("Calls that render or mail", rate, "BROADSHEET_RATE_LIMIT", wait)


def bounded(authenticate: Callable[[Request], T], asked: Request) -> T:
    """Find out who asks, and count it where the credentials are wrong.

    Too many failures of an address close it to credentials that can be guessed, such as
    passwords, right or wrong. Tokens of ours cannot, and are looked up all the same: an
    address may be that of a proxy or of a whole office.
    """
    rate = services().settings.auth_failure_limit
    header = asked.headers.get("Authorization", "").strip()
    if rate is None or not header:
        return authenticate(asked)
    who = network(asked.remote_addr)
    random = tokens.shown_in(header) is not None
    if not random and (wait := services().closed.left(who)):
        raise _failures(rate, wait)
    try:
        return authenticate(asked)
    except Unauthorized as exc:
        logger.warning("auth.refused", address=who, error=exc.description)
        with db.transaction(services().pool) as conn:
            wait = rates.take(conn, f"failures {who}", rate)
        if wait:
            services().closed.note(who, wait)
            raise _failures(rate, wait) from exc
        raise


def _failures(rate: Rate, wait: float) -> TooOften:
    what = "Failed authentications from this address"
    return TooOften(what, rate, "BROADSHEET_AUTH_FAILURE_LIMIT", wait)


def network(address: str | None) -> str:
    """Return whose an address is: itself, or the /64 of IPv6, which one machine has whole."""
    try:
        found = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
