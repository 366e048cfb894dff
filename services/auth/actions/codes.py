"""One-time codes: sending them, and trading them for a session."""

import hmac
import secrets
from dataclasses import replace
from datetime import datetime, timedelta

from libs.common import outbox
from libs.common.clock import new_id, utc_now
from libs.common.db import Connection
from libs.common.events import UserRegistered
from services.auth import metrics, rules
from services.auth.access_models import Challenge
from services.auth.actions import addresses, factors, sends
from services.auth.actions.sessions import grant, open_session
from services.auth.errors import OtpAttemptsExceededError, OtpInvalidError
from services.auth.models import Grant, Guess, Identifier, OneTimeCode, SentCode, Session, User
from services.auth.resources import Resources
from services.auth.store import accounts, codes
from services.auth.store import addresses as store_addresses

_NONCE_BYTES = 16


async def send_otp(
    res: Resources, identifier: Identifier, *, address: str, language: str
) -> SentCode:
    """Send the identifier's live code again, or a new one.

    The same for identifiers with and without an account: whoever asks learns nothing. The message
    is stored with the code and leaves later, so nobody waits for a provider.

    Args:
        res: the service's resources.
        identifier: to whom.
        address: of the client that asks.
        language: of the message.

    Raises:
        ChannelUnavailableError, CountryNotAllowedError: no code can reach the identifier.
        AddressLimitError: the address's network asked for too many.
        OtpAttemptsExceededError: the live code, or the identifier, used up its guesses.
        OtpCooldownError: too many were sent lately.
        NumberRangeLimitError, SendBudgetExhaustedError: too many were sent to others.
    """
    sends.ensure_reachable(res, identifier)
    if sends.test_code(res, identifier) is not None:
        return await _send_nothing(res, identifier)
    # Committed on its own, so that a refusal does not give it back.
    async with res.db.acquire() as conn:
        counted = await addresses.count(
            res, conn, address, what="send", limit=res.settings.address_sends_per_hour
        )
    counted.ensure_allowed()
    identifier_hash = res.codes.identifier_hash(identifier)
    pause = sends.pause(res)
    async with res.db.acquire() as conn, conn.transaction():
        code = await codes.lock_code(conn, identifier_hash, _fresh_code(res, utc_now()))
        now = utc_now()  # after the wait for the lock
        rules.ensure_guesses_left(code, now)
        rules.ensure_may_send(code, now, pause=pause)
        code = _next_code(res, code, now)
        await codes.update_code(conn, identifier_hash, code)
        otp = res.codes.code(code.id, code.nonce)
        if not res.settings.mocks_otp:
            await sends.charge(res, conn, identifier, now)
            message = sends.compose(identifier, otp, language, expires_at=code.expires_at, now=now)
            await res.courier.enqueue(conn, message, now=now)
    res.courier.nudge()
    metrics.OTP_SENT.labels(identifier.channel).inc()
    return SentCode(
        expires_in=rules.seconds_until(code.expires_at, now),
        resend_in=rules.resend_in(code.sent_at, now, pause=pause),
        otp=otp if res.settings.mocks_otp else None,
    )


async def _send_nothing(res: Resources, identifier: Identifier) -> SentCode:
    """Open the time in which a test number's code is accepted, and its guesses are counted."""
    identifier_hash = res.codes.identifier_hash(identifier)
    async with res.db.acquire() as conn, conn.transaction():
        code = await codes.lock_code(conn, identifier_hash, _fresh_code(res, utc_now()))
        now = utc_now()
        rules.ensure_guesses_left(code, now)
        if rules.is_over(code, now):
            code = _fresh_code(res, now, code.sent_at)
            await codes.update_code(conn, identifier_hash, code)
    return SentCode(rules.seconds_until(code.expires_at, now), resend_in=0, otp=None)


def _fresh_code(res: Resources, now: datetime, sent_at: tuple[datetime, ...] = ()) -> OneTimeCode:
    return OneTimeCode(
        id=new_id(),
        nonce=secrets.token_bytes(_NONCE_BYTES),
        expires_at=now + timedelta(seconds=res.settings.otp_ttl_s),
        attempts=0,
        used_at=None,
        sent_at=sent_at,
    )


def _next_code(res: Resources, code: OneTimeCode, now: datetime) -> OneTimeCode:
    """Return what is sent now: a new code if the last is over, else that one; the send noted."""
    sent_at = (*rules.recent_sends(code.sent_at, now), now)
    if rules.is_over(code, now):
        return _fresh_code(res, now, sent_at)
    return replace(code, sent_at=sent_at)


async def verify_otp(
    res: Resources, identifier: Identifier, *, otp: str, address: str, device: str | None
) -> Grant | Challenge:
    """Trade a right code, once, for a session; the first one verifies and announces the account.

    Who has a second factor gets a challenge instead, and no session before `factors.verify`.

    Raises:
        AddressLimitError: too many wrong codes came from the address's network.
        OtpInvalidError: wrong, expired, used, or nobody signed up with the identifier.
        OtpAttemptsExceededError: the code, or the identifier, used up its guesses, so even the
            right one is refused.
    """
    async with res.db.acquire() as conn:
        counted, guess = await check(res, conn, identifier, otp, address=address)
        invalid = OtpInvalidError(attempts_left=rules.MAX_ATTEMPTS - guess.attempts)
        async with conn.transaction():
            user = None
            if await codes.use_code(conn, guess.id, utc_now()):
                user = await _verify_account(conn, identifier)
            if user is None:
                raise invalid
            await sends.note_verified(conn, identifier)
            opened: Challenge | Session | None = await factors.challenge(conn, user.id)
            if opened is None:
                opened = await open_session(conn, user.id, device=device)
        await store_addresses.uncount_address(conn, counted.address_hash, since=counted.since)
    res.relay.nudge()
    metrics.OTP_VERIFIED.labels(identifier.channel).inc()
    if isinstance(opened, Challenge):
        return opened
    return grant(res, opened, generation=opened.generation, user=user)


async def check(
    res: Resources, conn: Connection, identifier: Identifier, otp: str, *, address: str
) -> tuple[addresses.Counted, Guess]:
    """Count a guess and return it if it is right; whoever then uses the code gives the count back.

    Raises:
        AddressLimitError, OtpAttemptsExceededError, OtpInvalidError: as `verify_otp` has it.
    """
    counted, guess = await _count_guess(res, conn, identifier, address)
    if not _is_right(res, identifier, otp, guess):
        raise OtpInvalidError(attempts_left=rules.MAX_ATTEMPTS - guess.attempts)
    return counted, guess


def _is_right(res: Resources, identifier: Identifier, otp: str, guess: Guess) -> bool:
    fixed = sends.test_code(res, identifier)
    if fixed is not None:
        return hmac.compare_digest(otp.encode(), fixed.encode())
    return res.codes.matches(otp, guess.id, guess.nonce)


async def _count_guess(
    res: Resources, conn: Connection, identifier: Identifier, address: str
) -> tuple[addresses.Counted, Guess]:
    """Count a guess, committed before anybody compares it, so that no failure gives it back."""
    identifier_hash = res.codes.identifier_hash(identifier)
    limit = res.settings.address_failures_per_hour
    async with conn.transaction():
        counted = await addresses.count(res, conn, address, what="failure", limit=limit)
        guess = None
        now = utc_now()
        if not counted.is_over:
            guess = await codes.count_guess(
                conn,
                identifier_hash,
                now=now,
                limit=rules.MAX_ATTEMPTS,
                failures_limit=rules.MAX_FAILURES,
                failures_since=now - rules.FAILURE_WINDOW,
            )
    counted.ensure_allowed()
    if guess is None:
        code = await codes.find_code(conn, identifier_hash)
        retry_at = rules.guesses_return_at(code, now) if code else None
        if retry_at is not None:
            raise OtpAttemptsExceededError(retry_after_s=rules.seconds_until(retry_at, now))
        raise OtpInvalidError(attempts_left=0)
    return counted, guess


async def _verify_account(conn: Connection, identifier: Identifier) -> User | None:
    """Return the identifier's account, announced if this verified it.

    None if there is none, and for who is banned: neither learns which.
    """
    user = await accounts.lock_account(conn, identifier)
    if user is None or user.banned:
        return None
    if user.verified:
        return user
    await accounts.verify_account(conn, user.id, utc_now())
    await outbox.add(
        conn,
        UserRegistered(user_id=user.id, phone=user.phone, email=user.email, name=user.name),
    )
    return replace(user, verified=True)
