"""What the gateway trades for an access token of ours: API keys, and another issuer's tokens."""

import hmac
from datetime import datetime

from libs.common import outbox
from libs.common.api_keys import PREFIX
from libs.common.clock import new_id, utc_now
from libs.common.db import Connection
from libs.common.errors import SessionRevokedError
from libs.common.events import UserRegistered
from libs.common.identity import TokenExpiredError
from services.auth import rules
from services.auth.actions import api_keys
from services.auth.actions.sessions import ROLE, open_session
from services.auth.external import ExternalIdentity
from services.auth.models import Exchanged, ExternalLogin, Session
from services.auth.resources import Resources
from services.auth.store import accounts, bans, external_logins, sessions


async def exchange(res: Resources, credential: str) -> Exchanged:
    """Return an access token that lives no longer than the credential.

    Raises:
        ApiKeyInvalidError, ApiKeyExpiredError: see `api_keys.exchange`.
        UnauthenticatedError, TokenExpiredError, UnavailableError: see `ExternalVerifier.identify`.
        SessionRevokedError: its user logged out or left since it was issued, or is banned.
    """
    if res.external is None or credential.startswith(PREFIX):
        return await api_keys.exchange(res, credential)
    return await _exchange_token(res, await res.external.identify(credential))


async def _exchange_token(res: Resources, identity: ExternalIdentity) -> Exchanged:
    """Make the token's user on first sight, and trade the token."""
    message = f"{identity.issuer}\0{identity.subject}".encode()
    subject_hash = hmac.digest(res.subject_hash_key, message, "sha256")
    async with res.db.acquire() as conn:
        while (session := await _log_in(conn, subject_hash, identity)) is None:
            pass
    res.relay.nudge()
    now = utc_now()
    ttl_s = min(
        res.settings.access_token_ttl_s,
        max(1, int((identity.expires_at - now).total_seconds())),
        int((session.expires_at - now).total_seconds()),
    )
    token = res.keyring.sign(
        user_id=session.user_id, session_id=session.id, role=ROLE, issued_at=now, ttl_s=ttl_s
    )
    return Exchanged(token, ttl_s)


async def _log_in(
    conn: Connection, subject_hash: bytes, identity: ExternalIdentity
) -> Session | None:
    """Return the subject's login; None if their account came or went meanwhile, so try again.

    The account is locked first, as its deletion does, so that nobody waits in a circle.
    """
    async with conn.transaction():
        user_id = await external_logins.find_user_id(conn, subject_hash)
        if user_id is not None:
            await accounts.share_account(conn, user_id)
            if await bans.is_banned(conn, user_id):
                raise SessionRevokedError
        login = await external_logins.lock_external_login(conn, subject_hash)
        if login.user_id != user_id:
            return None
        now = utc_now()  # after the wait for the lock
        _ensure_recent(identity, now, refused_until=login.refused_until)
        session = await _session(conn, login, identity, now)
        if session.id != login.session_id:
            await external_logins.update_external_login(
                conn, subject_hash, user_id=session.user_id, session_id=session.id
            )
        return session


def _ensure_recent(
    identity: ExternalIdentity, now: datetime, *, refused_until: datetime | None
) -> None:
    if identity.issued_at < now - rules.EXTERNAL_TOKEN_AGE:
        raise TokenExpiredError("the access token is more than a day old; get another")
    if refused_until is not None and identity.issued_at <= refused_until:
        raise SessionRevokedError


async def _session(
    conn: Connection, login: ExternalLogin, identity: ExternalIdentity, now: datetime
) -> Session:
    """Return the subject's live login: the one there is, or another if the token is newer."""
    user_id = login.user_id
    if user_id is None:
        user_id = new_id()
        await external_logins.insert_external_account(conn, user_id, now)
        await outbox.add(conn, UserRegistered(user_id=user_id))
    session = await sessions.lock_session(conn, login.session_id) if login.session_id else None
    if session is not None and not rules.has_ended(session, now):
        await sessions.touch_session(conn, session.id, now)
        return session
    ended_at = session.revoked_at if session else None
    if ended_at is not None and identity.issued_at <= ended_at:
        raise SessionRevokedError
    return await open_session(conn, user_id, device=None)
