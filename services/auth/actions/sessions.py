"""Sessions: opening and refreshing them."""

import secrets
from uuid import UUID

from libs.common.clock import new_id, utc_now
from libs.common.db import Connection
from services.auth import refresh_tokens, rules
from services.auth.actions import accounts
from services.auth.errors import RefreshInvalidError, RefreshReusedError
from services.auth.models import Grant, Session, User
from services.auth.resources import Resources
from services.auth.store import sessions

_NONCE_BYTES = 16
_ROLE = "user"


async def open_session(conn: Connection, user_id: UUID) -> Session:
    """Store a new session of the user."""
    now = utc_now()
    session = Session(
        id=new_id(),
        user_id=user_id,
        nonce=secrets.token_bytes(_NONCE_BYTES),
        generation=1,
        rotated_at=now,
        expires_at=now + rules.SESSION_LIFE,
        revoked_at=None,
    )
    await sessions.insert_session(conn, session)
    return session


def grant(res: Resources, session: Session, *, generation: int, user: User) -> Grant:
    """Return a fresh access token and the session's refresh token of that generation."""
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
            await sessions.revoke_session(conn, session.id, now)
        user = await accounts.read_user(conn, session.user_id)
    if verdict == "reused":
        raise RefreshReusedError  # after the commit, which a raise inside would undo
    return grant(res, session, generation=generation, user=user)
