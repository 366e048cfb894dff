"""Sessions: opening, refreshing, listing and ending them."""

import secrets
from datetime import timedelta
from uuid import UUID

from libs.common import outbox
from libs.common.clock import new_id, utc_now
from libs.common.db import Connection
from libs.common.errors import SessionRevokedError
from libs.common.events import RevocationReason, SessionRevoked
from libs.common.identity import Identity
from services.auth import refresh_tokens, rules
from services.auth.actions import accounts, audit
from services.auth.errors import RefreshInvalidError, RefreshReusedError, SessionNotFoundError
from services.auth.models import Grant, ListedSession, LogoutScope, Session, User
from services.auth.resources import Resources
from services.auth.store import sessions

_NONCE_BYTES = 16
ROLE = "user"
"""Of whoever shows no second factor: all that is no login by code, too."""


async def open_session(
    conn: Connection,
    user_id: UUID,
    *,
    device: str | None,
    life: timedelta = rules.SESSION_LIFE,
    has_factor: bool = False,
) -> Session:
    """Store a new session of the user; the last step of its transaction, see `audit.record`."""
    now = utc_now()
    session = Session(
        id=new_id(),
        user_id=user_id,
        nonce=secrets.token_bytes(_NONCE_BYTES),
        generation=1,
        rotated_at=now,
        expires_at=now + life,
        revoked_at=None,
        device=device,
        has_factor=has_factor,
    )
    await sessions.insert_session(conn, session)
    await audit.record(
        conn, "login", subject=user_id, actor=user_id, session_id=str(session.id), device=device
    )
    return session


def grant(res: Resources, session: Session, *, generation: int, user: User) -> Grant:
    """Return a fresh access token and the session's refresh token of that generation."""
    ttl_s = res.settings.access_token_ttl_s
    access_token = res.keyring.sign(
        user_id=user.id,
        session_id=session.id,
        role=rules.role_in(session, user.role),
        issued_at=utc_now(),
        ttl_s=ttl_s,
        methods=() if user.guest else rules.methods_of(session),
        guest=user.guest,
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
        session = await sessions.lock_session(conn, presented.session_id)
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
            generation = await sessions.rotate_session(conn, session.id, now)
        elif verdict == "reused":
            await _end_reused(res, conn, session, generation=presented.generation)
        user = await accounts.read_user(conn, session.user_id)
    if verdict == "reused":
        res.relay.nudge()
        raise RefreshReusedError  # after the commit, which a raise inside would undo
    return grant(res, session, generation=generation, user=user)


async def _end_reused(
    res: Resources, conn: Connection, session: Session, *, generation: int
) -> None:
    await end_sessions(res, conn, session.user_id, reason="refresh_reused", only=session.id)
    await audit.record(
        conn,
        "refresh_reused",
        subject=session.user_id,
        actor=None,
        session_id=str(session.id),
        generations_behind=session.generation - generation,
    )


async def log_out(res: Resources, caller: Identity, scope: LogoutScope) -> None:
    """End the caller's session, or all others of the user, or all.

    Raises:
        SessionRevokedError: the caller's has ended before.
    """
    only = caller.session_id if scope == "local" else None
    but = caller.session_id if scope == "others" else None
    async with res.db.acquire() as conn, conn.transaction():
        await ensure_alive(conn, caller)
        await end_sessions(res, conn, caller.user_id, reason="logout", only=only, but=but)
    res.relay.nudge()


async def end_session(res: Resources, caller: Identity, session_id: UUID) -> None:
    """End one of the caller's sessions.

    Raises:
        SessionNotFoundError: it is not theirs, or has ended.
        SessionRevokedError: the caller's own has ended before.
    """
    async with res.db.acquire() as conn, conn.transaction():
        await ensure_alive(conn, caller)
        if not await end_sessions(res, conn, caller.user_id, reason="logout", only=session_id):
            raise SessionNotFoundError
    res.relay.nudge()


async def end_sessions(
    res: Resources,
    conn: Connection,
    user_id: UUID,
    *,
    reason: RevocationReason,
    only: UUID | None = None,
    but: UUID | None = None,
) -> int:
    """End live sessions of the user, announce and audit it; return how many there were.

    The last step but one of its transaction, see `audit.record`; nudge the relay after the commit.

    Args:
        res: the service's resources.
        conn: in a transaction.
        user_id: whose sessions.
        reason: why; `logout` is the user's own wish.
        only: end no other.
        but: do not end this one.
    """
    now = utc_now()
    ended = await sessions.revoke_sessions(conn, user_id, now=now, only=only, but=but)
    tokens_expire_at = rules.tokens_expire_at(now, ttl_s=res.settings.access_token_ttl_s)
    for session_id in ended:
        await outbox.add(
            conn,
            SessionRevoked(
                user_id=user_id,
                session_id=session_id,
                tokens_expire_at=tokens_expire_at,
                reason=reason,
            ),
        )
    if ended:
        await audit.record(
            conn,
            "session_ended",
            subject=user_id,
            actor=user_id if reason == "logout" else None,
            session_ids=[str(session_id) for session_id in ended],
            reason=reason,
        )
    return len(ended)


async def list_sessions(
    res: Resources, caller: Identity, *, before: UUID | None, limit: int
) -> list[ListedSession]:
    """Return up to `limit` of the caller's live sessions older than `before`, newest first.

    Raises:
        SessionRevokedError: the caller's own has ended.
    """
    async with res.db.acquire() as conn:
        await ensure_alive(conn, caller)
        return await sessions.list_sessions(
            conn, caller.user_id, now=utc_now(), before=before, limit=limit
        )


async def ensure_alive(conn: Connection, caller: Identity) -> None:
    """Refuse a session that has ended: the gateway does, too, but not while Redis is away.

    Raises:
        SessionRevokedError: it has.
    """
    if not await sessions.is_alive(conn, caller.session_id, utc_now()):
        raise SessionRevokedError
