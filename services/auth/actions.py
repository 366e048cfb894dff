"""What auth does, step by step: transactions, their order, and what is announced."""

import secrets
from datetime import datetime, timedelta
from uuid import UUID

from libs.common import inbox, outbox
from libs.common.clock import new_id, utc_now
from libs.common.db import Connection
from libs.common.events import SubscriptionChanged, UserRegistered
from services.auth import refresh_tokens, rules, store
from services.auth.errors import (
    OtpAttemptsExceededError,
    OtpInvalidError,
    RefreshInvalidError,
    RefreshReusedError,
    UserNotFoundError,
)
from services.auth.models import Grant, Identifier, OneTimeCode, SentCode, Session, User
from services.auth.resources import Resources

_NONCE_BYTES = 16
_ROLE = "user"
_KEEP_STALE = timedelta(hours=1)
_PURGE = 10
"""Stale rows deleted whenever one is added, so that the tables cannot grow for ever."""


async def sign_up(res: Resources, identifier: Identifier, *, name: str | None) -> None:
    """Create the identifier's account and announce it, both or neither; nothing if it has one."""
    user_id = new_id()
    async with res.db.acquire() as conn, conn.transaction():
        created = await store.insert_account(
            conn, identifier, user_id=user_id, name=name, now=utc_now()
        )
        if created:
            event = UserRegistered(
                user_id=user_id, phone=identifier.phone, email=identifier.email, name=name
            )
            await outbox.add(conn, event)
    if created:
        res.relay.nudge()


async def send_otp(res: Resources, identifier: Identifier) -> SentCode:
    """Send the identifier's live code again, or a new one.

    The same for identifiers with and without an account: whoever asks learns nothing.

    Raises:
        OtpAttemptsExceededError: the live code used up its guesses.
        OtpCooldownError: too many were sent lately.
    """
    identifier_hash = res.codes.identifier_hash(identifier)
    async with res.db.acquire() as conn, conn.transaction():
        code = await store.lock_code(conn, identifier_hash, _fresh_code(res))
        now = utc_now()  # after the wait for the lock
        rules.ensure_may_send(code, now)
        code = _next_code(res, code, now)
        await store.update_code(conn, identifier_hash, code)
        await store.delete_stale_codes(conn, before=now - _KEEP_STALE, limit=_PURGE)
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
    return OneTimeCode(code.id, code.nonce, code.expires_at, code.attempts, None, sent_at)


async def verify_otp(res: Resources, identifier: Identifier, *, otp: str) -> Grant:
    """Trade a right code, once, for a session; the first one verifies the account.

    Raises:
        OtpInvalidError: wrong, expired, used, or nobody signed up with the identifier.
        OtpAttemptsExceededError: the code used up its guesses, so even the right one is refused.
    """
    identifier_hash = res.codes.identifier_hash(identifier)
    now = utc_now()
    async with res.db.acquire() as conn:
        # Committed on its own before comparing, so that no failure gives a guess back.
        guess = await store.count_guess(conn, identifier_hash, now=now, limit=rules.MAX_ATTEMPTS)
        if guess is None:
            await _refuse_guess(conn, identifier_hash, now)
            raise OtpInvalidError(attempts_left=0)
        invalid = OtpInvalidError(attempts_left=rules.MAX_ATTEMPTS - guess.attempts)
        if not res.codes.matches(otp, guess.id, guess.nonce):
            raise invalid

        async with conn.transaction():
            user_id = None
            if await store.use_code(conn, guess.id, now):
                user_id = await store.verify_account(conn, identifier, now)
            if user_id is None:
                raise invalid
            session = await _open_session(conn, user_id, now)
            user = await read_user(conn, user_id)
    return _grant(res, session, generation=session.generation, user=user)


async def _refuse_guess(conn: Connection, identifier_hash: bytes, now: datetime) -> None:
    """Raise `OtpAttemptsExceededError` if a live code is dead; return if none is live."""
    code = await store.find_code(conn, identifier_hash)
    if code is not None and not rules.is_over(code, now):
        raise OtpAttemptsExceededError(retry_after_s=rules.seconds_until(code.expires_at, now))


async def _open_session(conn: Connection, user_id: UUID, now: datetime) -> Session:
    session = Session(
        id=new_id(),
        user_id=user_id,
        nonce=secrets.token_bytes(_NONCE_BYTES),
        generation=1,
        rotated_at=now,
        expires_at=now + rules.SESSION_LIFE,
        revoked_at=None,
    )
    await store.insert_session(conn, session)
    await store.delete_stale_sessions(conn, before=now - _KEEP_STALE, limit=_PURGE)
    return session


def _grant(res: Resources, session: Session, *, generation: int, user: User) -> Grant:
    ttl_s = res.settings.access_token_ttl_s
    access_token = res.keyring.sign(
        user_id=user.id, session_id=session.id, role=_ROLE, issued_at=utc_now(), ttl_s=ttl_s
    )
    refresh_token = res.refresh_tokens.token(session.id, generation=generation, nonce=session.nonce)
    return Grant(access_token, refresh_token, ttl_s, user)


async def refresh(res: Resources, refresh_token: str) -> Grant:
    """Trade a refresh token for its successor.

    The token before the newest leads to that newest one for `rules.REUSE_WINDOW`, so a lost answer
    or a second tab logs nobody out.

    Raises:
        RefreshInvalidError: not a token of a session that lives.
        RefreshReusedError: an older token; its session, and no other, has ended now.
    """
    presented = refresh_tokens.parse(refresh_token)
    if presented is None:
        raise RefreshInvalidError
    async with res.db.acquire() as conn, conn.transaction():
        session = await store.lock_session(conn, presented.session_id)
        now = utc_now()  # after the wait for the lock
        if (
            session is None
            or not res.refresh_tokens.is_genuine(presented, nonce=session.nonce)
            or rules.has_ended(session, now)
        ):
            raise RefreshInvalidError
        generation = session.generation
        verdict = rules.judge_refresh(session, generation=presented.generation, now=now)
        if verdict == "rotate":
            generation = await store.rotate_session(conn, session.id, now)
        elif verdict == "reused":
            await store.revoke_session(conn, session.id, now)
        user = await read_user(conn, session.user_id)
    if verdict == "reused":
        raise RefreshReusedError  # after the commit, which a raise inside would undo
    return _grant(res, session, generation=generation, user=user)


async def read_me(res: Resources, user_id: UUID) -> User:
    """Return the caller.

    Raises:
        UserNotFoundError: the account was deleted after the token was issued.
    """
    async with res.db.acquire() as conn:
        return await read_user(conn, user_id)


async def read_user(conn: Connection, user_id: UUID) -> User:
    """Return the user.

    Raises:
        UserNotFoundError: there is none.
    """
    user = await store.find_user(conn, user_id)
    if user is None:
        raise UserNotFoundError
    return user


async def record_plan(res: Resources, event: SubscriptionChanged) -> None:
    """Keep the user's plan unless we know a newer one; the user may still be unknown."""
    async with res.db.acquire() as conn, conn.transaction():
        if not await inbox.first_time(conn, consumer=event.TYPE, event_id=event.event_id):
            return
        await store.upsert_plan(conn, user_id=event.user_id, version=event.version, plan=event.plan)
