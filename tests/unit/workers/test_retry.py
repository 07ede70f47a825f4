from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.deliveries import LIFETIME as MAIL_LIFETIME
from shared.errors import DashboardNotFound, GrafanaAway, LostLease, SettingsError
from workers.mail import MailRefused, MailStopped, MailUnknown
from workers.retry import decide

LATER = MailRefused("4.3.0 Try again later", phase="dot", code=451)
NEVER = MailRefused("5.1.1 No such user", phase="rcpt", code=550, permanent=True)
SIGN_IN = MailRefused("5.7.8 Bad credentials", phase="auth", code=535, configuration=True)


def test_a_passing_fault_is_tried_again_after_a_few_seconds_then_more() -> None:
    waits = [decide(GrafanaAway(), attempt, 6) for attempt in range(1, 7)]
    assert waits == [5.0, 20.0, 80.0, 300.0, 300.0, None]


@pytest.mark.parametrize("error", [DashboardNotFound(), SettingsError("x"), LostLease()])
def test_what_trying_will_not_mend_is_given_up_at_once(error: Exception) -> None:
    assert decide(error, 1, 3) is None


def test_an_unexpected_error_has_its_attempts_too() -> None:
    assert decide(ValueError("x"), 1, 3) == 5.0
    assert decide(ValueError("x"), 3, 3) is None


def test_a_mail_waits_half_a_minute_first_and_half_an_hour_at_most() -> None:
    waits = [decide(LATER, attempt, 3) for attempt in (1, 2, 3, 6, 7, 8, 1000)]
    assert waits == [30.0, 60.0, 120.0, 960.0, 1800.0, 1800.0, 1800.0]


def test_a_mail_is_given_up_for_its_age_and_not_for_its_attempts() -> None:
    assert decide(LATER, 40, 3, age=MAIL_LIFETIME - 1800) == 1800.0
    assert decide(LATER, 40, 3, age=MAIL_LIFETIME - 1799) is None


def test_a_mail_refused_for_good_is_given_up() -> None:
    assert decide(NEVER, 1, 3) is None


def test_a_wrong_password_is_no_fault_of_the_mail() -> None:
    assert decide(SIGN_IN, 1, 3) == 30.0


@pytest.mark.parametrize("error", [MailUnknown(), MailStopped()])
def test_a_mail_that_may_have_been_sent_is_never_tried_again(error: Exception) -> None:
    assert decide(error, 1, 3) is None


@given(st.integers(1, 10**9), st.floats(0, 1), st.sampled_from([LATER, GrafanaAway()]))
def test_jitter_spreads_a_wait_over_its_upper_half_and_that_of_a_mail_over_all_of_it(
    attempt: int, jitter: float, error: Exception
) -> None:
    longest = decide(error, attempt, 10**10)
    wait = decide(error, attempt, 10**10, jitter=jitter)
    assert longest is not None and wait is not None
    if isinstance(error, MailRefused):
        assert wait == max(1.0, jitter * longest)
    else:
        assert longest / 2 <= wait <= longest
