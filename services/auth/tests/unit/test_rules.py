from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from services.auth import rules
from services.auth.errors import (
    CountryNotAllowedError,
    OtpAttemptsExceededError,
    OtpCooldownError,
)
from services.auth.models import OneTimeCode, Session

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
NONE = timedelta(0)
CODE = OneTimeCode(
    id=UUID(int=1), nonce=b"", expires_at=NOW + SECOND, attempts=0, used_at=None, sent_at=()
)
SESSION = Session(
    id=UUID(int=1),
    user_id=UUID(int=2),
    nonce=b"",
    generation=5,
    rotated_at=NOW - 30 * SECOND,
    expires_at=NOW + SECOND,
    revoked_at=None,
)


@pytest.mark.parametrize(
    ("code", "over"),
    [
        (CODE, False),
        (replace(CODE, expires_at=NOW), True),
        (replace(CODE, used_at=NOW), True),
        (replace(CODE, attempts=5), False),
    ],
)
def test_a_code_is_over_when_used_or_expired_but_not_when_dead(
    code: OneTimeCode, over: bool
) -> None:
    assert rules.is_over(code, NOW) is over


def test_a_dead_code_blocks_sending_until_it_has_expired() -> None:
    rules.ensure_guesses_left(replace(CODE, attempts=4), NOW)
    with pytest.raises(OtpAttemptsExceededError) as caught:
        rules.ensure_guesses_left(replace(CODE, attempts=5), NOW)
    assert caught.value.headers["Retry-After"] == "1"
    rules.ensure_guesses_left(replace(CODE, attempts=5, expires_at=NOW), NOW)


def test_ten_sends_fit_into_any_ten_minutes() -> None:
    nine = tuple(NOW - n * SECOND for n in range(9, 0, -1))
    ten = (NOW - timedelta(minutes=10) + 5 * SECOND, *nine)

    rules.ensure_may_send(replace(CODE, sent_at=nine), NOW, pause=NONE)
    with pytest.raises(OtpCooldownError) as caught:
        rules.ensure_may_send(replace(CODE, sent_at=ten), NOW, pause=NONE)
    assert caught.value.headers["Retry-After"] == "5"
    rules.ensure_may_send(replace(CODE, sent_at=ten), NOW + 5 * SECOND, pause=NONE)


def test_resend_in_is_what_the_next_send_would_have_to_wait() -> None:
    ten = tuple(NOW - n * SECOND for n in range(10, 0, -1))

    assert rules.resend_in(ten[1:], NOW, pause=NONE) == 0
    assert rules.resend_in(ten, NOW, pause=NONE) == 590
    assert rules.resend_in(ten[1:], NOW, pause=30 * SECOND) == 29
    assert rules.resend_in((), NOW, pause=30 * SECOND) == 0


def test_a_send_waits_for_the_pause_after_the_last_one() -> None:
    code = replace(CODE, sent_at=(NOW,))

    with pytest.raises(OtpCooldownError) as caught:
        rules.ensure_may_send(code, NOW + 29 * SECOND, pause=30 * SECOND)
    assert caught.value.headers["Retry-After"] == "1"
    rules.ensure_may_send(code, NOW + 30 * SECOND, pause=30 * SECOND)


def test_ten_thousand_numbers_make_a_range() -> None:
    assert rules.range_of("+14155552671") == rules.range_of("+14155559999") == "+1415555"
    assert rules.range_of("+14155562671") != "+1415555"


@pytest.mark.parametrize("country", ["FR", None])
def test_only_numbers_of_allowed_countries_get_codes(country: str | None) -> None:
    rules.ensure_country_allowed("US", ("DE", "US"))
    rules.ensure_country_allowed(country, ())
    with pytest.raises(CountryNotAllowedError):
        rules.ensure_country_allowed(country, ("DE", "US"))


@pytest.mark.parametrize(
    ("generation", "rotated_at", "verdict"),
    [
        (5, NOW - timedelta(days=3), "rotate"),
        (4, NOW, "repeat"),
        (4, NOW - 60 * SECOND, "repeat"),
        (4, NOW - 61 * SECOND, "reused"),
        (3, NOW, "reused"),
        (6, NOW, "reused"),
    ],
)
def test_only_the_newest_token_and_shortly_the_one_before_refresh(
    generation: int, rotated_at: datetime, verdict: str
) -> None:
    session = replace(SESSION, rotated_at=rotated_at)

    assert rules.judge_refresh(session, generation=generation, now=NOW) == verdict


@pytest.mark.parametrize(
    ("session", "ended"),
    [
        (SESSION, False),
        (replace(SESSION, expires_at=NOW), True),
        (replace(SESSION, revoked_at=NOW - SECOND), True),
    ],
)
def test_a_session_ends_by_age_or_revocation(session: Session, ended: bool) -> None:
    assert rules.has_ended(session, NOW) is ended


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unknown"),
        ("testclient", "unknown"),
        ("192.0.2.77, 198.51.100.1", "unknown"),
    ],
)
def test_an_address_counts_as_its_network(address: str, network: str) -> None:
    assert rules.network_of(address) == network
