"""One-time codes: sending them, and trading them for a session."""

import secrets
from dataclasses import replace
from datetime import datetime, timedelta

from libs.common import outbox
from libs.common.clock import new_id, utc_now
from libs.common.db import Connection
from libs.common.events import UserRegistered
from services.auth import rules
from services.auth.actions import addresses
from services.auth.actions.sessions import grant, open_session
from services.auth.errors import OtpAttemptsExceededError, OtpInvalidError
from services.auth.models import Grant, Guess, Identifier, OneTimeCode, SentCode, User
from services.auth.resources import Resources
from services.auth.store import accounts, codes
from services.auth.store import addresses as store_addresses

_NONCE_BYTES = 16


async def send_otp(res: Resources, identifier: Identifier, *, address: str) -> SentCode:
    """Send the identifier's live code again, or a new one.

    The same for identifiers with and without an account: whoever asks learns nothing.

    Raises:
        AddressLimitError: the address's network asked for too many.
        OtpAttemptsExceededError: the live code, or the identifier, used up its guesses.
        OtpCooldownError: too many were sent lately.
    """
    identifier_hash = res.codes.identifier_hash(identifier)
    # Committed on its own, so that a refusal does not give it back.
    async with res.db.acquire() as conn:
        counted = await addresses.count(
            res, conn, address, what="send", limit=res.settings.address_sends_per_hour
        )
    counted.ensure_allowed()
    async with res.db.acquire() as conn, conn.transaction():
        code = await codes.lock_code(conn, identifier_hash, _fresh_code(res))
        now = utc_now()  # after the wait for the lock
        rules.ensure_may_send(code, now)
        code = _next_code(res, code, now)
        await codes.update_code(conn, identifier_hash, code)
    otp = await res.sender.send(identifier, res.codes.code(code.id, code.nonce))
    return SentCode(
        expires_in=rules.seconds_until(code.expires_at, now),
        resend_in=rules.resend_in(code.sent_at, now),
        otp=otp,
    )


def _fresh_code(res: Resources, sent_at: tuple[datetime, ...] = ()) -> OneTimeCode:
    return OneTimeCode(
        id=new_id(),
        nonce=secrets.token_bytes(_NONCE_BYTES),
        expires_at=utc_now() + timedelta(seconds=res.settings.otp_ttl_s),
        attempts=0,
        used_at=None,
        sent_at=sent_at,
    )


def _next_code(res: Resources, code: OneTimeCode, now: datetime) -> OneTimeCode:
    """Return what is sent now: a new code if the last is over, else that one; the send noted."""
    sent_at = (*rules.recent_sends(code.sent_at, now), now)
    if rules.is_over(code, now):
        return _fresh_code(res, sent_at)
    return replace(code, sent_at=sent_at)


async def verify_otp(res: Resources, identifier: Identifier, *, otp: str, address: str) -> Grant:
    """Trade a right code, once, for a session; the first one verifies and announces the account.

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
            session = await open_session(conn, user.id)
        await store_addresses.uncount_address(conn, counted.address_hash, since=counted.since)
    res.relay.nudge()
    return grant(res, session, generation=session.generation, user=user)


async def check(
    res: Resources, conn: Connection, identifier: Identifier, otp: str, *, address: str
) -> tuple[addresses.Counted, Guess]:
    """Count a guess and return it if it is right; whoever then uses the code gives the count back.

    Raises:
        AddressLimitError, OtpAttemptsExceededError, OtpInvalidError: as `verify_otp` has it.
    """
    counted, guess = await _count_guess(res, conn, identifier, address)
    if not res.codes.matches(otp, guess.id, guess.nonce):
        raise OtpInvalidError(attempts_left=rules.MAX_ATTEMPTS - guess.attempts)
    return counted, guess


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
    """Return the identifier's account, announced if this verified it; None if there is none."""
    user = await accounts.lock_account(conn, identifier)
    if user is None or user.verified:
        return user
    await accounts.verify_account(conn, user.id, utc_now())
    await outbox.add(
        conn,
        UserRegistered(user_id=user.id, phone=user.phone, email=user.email, name=user.name),
    )
    return replace(user, verified=True)
