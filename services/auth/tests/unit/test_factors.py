from datetime import UTC, datetime, timedelta
from uuid import UUID

import pyotp
import pytest
from cryptography.exceptions import InvalidTag

from services.auth.access_errors import FactorAttemptsExceededError
from services.auth.access_models import Factor
from services.auth.factors import FactorMaker, challenge_hash, make_challenge
from services.auth.rules import ensure_factor_guesses_left

ADA, BOB = UUID(int=1), UUID(int=2)
RFC_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # "12345678901234567890", RFC 6238, appendix B
NOW = datetime(2026, 11, 23, 12, 0, 15, tzinfo=UTC)
FACTORS = FactorMaker("a secret of the tests")


@pytest.mark.parametrize(
    ("unix", "code"),
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (20000000000, "353130")],
)
def test_codes_are_those_of_the_standard(unix: int, code: str) -> None:
    sealed = FACTORS.seal(RFC_SECRET, ADA)

    at = datetime.fromtimestamp(unix, UTC)

    assert FACTORS.matching_step(code, sealed, ADA, at) == unix // 30


@pytest.mark.parametrize(
    ("seconds", "accepted"), [(-46, False), (-45, True), (0, True), (44, True), (45, False)]
)
def test_a_clock_may_be_off_by_one_step_and_no_more(seconds: int, accepted: bool) -> None:
    sealed = FACTORS.seal(RFC_SECRET, ADA)
    shown_at = NOW + timedelta(seconds=seconds)
    step = int(shown_at.timestamp()) // 30
    code = pyotp.TOTP(RFC_SECRET).generate_otp(step)

    found = FACTORS.matching_step(code, sealed, ADA, NOW)

    assert found == (step if accepted else None)


def test_a_sealed_secret_is_its_users_alone_and_not_readable() -> None:
    sealed = FACTORS.seal(RFC_SECRET, ADA)

    assert RFC_SECRET.encode() not in sealed
    assert sealed != FACTORS.seal(RFC_SECRET, ADA)
    with pytest.raises(InvalidTag):
        FACTORS.matching_step("000000", sealed, BOB, NOW)
    with pytest.raises(InvalidTag):
        FactorMaker("another secret of tests").matching_step("000000", sealed, ADA, NOW)


def test_an_app_can_scan_the_uri() -> None:
    secret = FACTORS.make_secret()

    uri = FACTORS.uri(secret, "ada@example.org")

    expected = f"otpauth://totp/Thoughtflow:ada%40example.org?secret={secret}&issuer=Thoughtflow"
    assert uri == expected
    assert len(secret) == 32
    assert secret != FACTORS.make_secret()


def test_ten_recovery_codes_differ_and_their_spelling_does_not_matter() -> None:
    codes = FACTORS.make_recovery_codes()

    assert len(set(codes)) == 10
    hashes = {FACTORS.recovery_hash(code, ADA) for code in codes}
    assert len(hashes) == 10
    assert {FACTORS.recovery_hash(f" {c[:5].lower()} {c[6:]}", ADA) for c in codes} == hashes
    assert not hashes & {FACTORS.recovery_hash(code, BOB) for code in codes}


def test_challenges_are_long_and_stored_as_hashes() -> None:
    challenge = make_challenge()

    assert len(challenge) == 43
    assert challenge != make_challenge()
    assert len(challenge_hash(challenge)) == 32


@pytest.mark.parametrize(("failures", "hours"), [(0, None), (19, 1), (20, 24), (90, 25)])
def test_an_account_with_guesses_left_may_try(failures: int, hours: int | None) -> None:
    since = None if hours is None else NOW - timedelta(hours=hours)

    ensure_factor_guesses_left(Factor(ADA, b"", NOW, NOW, failures, since), NOW)


def test_the_twenty_first_wrong_code_of_a_day_is_not_looked_at() -> None:
    factor = Factor(ADA, b"", NOW, NOW, 20, NOW - timedelta(hours=23))

    with pytest.raises(FactorAttemptsExceededError, match="wait 3600 seconds"):
        ensure_factor_guesses_left(factor, NOW)
