"""Whether to try again, and when: a decision from an error and a few numbers, without I/O."""

from __future__ import annotations

from shared import deliveries
from shared.errors import LostLease, Permanent
from workers.mail import MailError, MailRefused

#: Of a mail: the wait is anything up to 30 s, doubled with each attempt up to half an hour; never
#: less than a moment.
MAIL_FIRST, MAIL_LONGEST, MAIL_LEAST = 30.0, 1_800.0, 1.0

#: A capture or an assembly: a person may be waiting, so the steps are few and short.
FIRST, FACTOR, LONGEST = 5.0, 4.0, 300.0


def decide(
    error: Exception, attempt: int, max_attempts: int, *, age: float = 0.0, jitter: float = 1.0
) -> float | None:
    """Return the seconds to wait before the next attempt, or None to give up.

    `attempt` is the one that failed, from 1. `jitter`, between 0 and 1, is the caller's random
    number, so that what failed together does not come back together: it spreads the wait of a
    mail over its whole length, and other waits over the upper half. `age` is how many seconds ago
    the mail could first have been sent: mail is limited by its age and not by `max_attempts`,
    because the usual fault is a mail server that is away for everyone.
    """
    if isinstance(error, MailError):
        return _mail(error, attempt, age, jitter)
    if isinstance(error, Permanent | LostLease) or attempt >= max_attempts:
        return None
    return _longest(FIRST, FACTOR, LONGEST, attempt) * (0.5 + jitter / 2)


def _mail(error: MailError, attempt: int, age: float, jitter: float) -> float | None:
    # Of a mail that is `unknown` or was stopped, trying again could make two.
    if not isinstance(error, MailRefused) or error.permanent:
        return None
    wait = max(MAIL_LEAST, jitter * _longest(MAIL_FIRST, 2.0, MAIL_LONGEST, attempt))
    return wait if age + wait <= deliveries.LIFETIME else None


def _longest(first: float, factor: float, longest: float, attempt: int) -> float:
    # The exponent is bounded so that a huge attempt cannot overflow a float.
    wait: float = min(longest, first * factor ** min(max(attempt - 1, 0), 60))
    return wait
