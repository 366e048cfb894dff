"""API keys: making, rotating and deleting them, and trading them for access tokens.

A key is no session: logging out, also everywhere, leaves it. It ends by its date, when its owner
deletes it, and with the account.
"""

import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from libs.common import outbox
from libs.common.api_keys import SHOWN, make_key
from libs.common.clock import new_id, utc_now
from libs.common.db import Connection
from libs.common.errors import AccountRequiredError, ApiKeyExpiredError, ApiKeyInvalidError
from libs.common.events import RevocationReason, SessionRevoked
from libs.common.identity import Identity, Scope
from services.auth import rules
from services.auth.actions import audit
from services.auth.actions.sessions import ROLE, ensure_alive
from services.auth.errors import (
    ApiKeyEndedError,
    ApiKeyNotFoundError,
    TooManyApiKeysError,
    UserNotFoundError,
)
from services.auth.models import ApiKey, Exchanged, MadeKey
from services.auth.resources import Resources
from services.auth.store import api_keys


async def make(
    res: Resources,
    caller: Identity,
    *,
    name: str,
    scopes: Sequence[Scope],
    expires_at: datetime | None,
) -> MadeKey:
    """Make a key of the caller's.

    Raises:
        AccountRequiredError: the caller is a guest.
        SessionRevokedError: the caller's login has ended.
        TooManyApiKeysError: they have `rules.MAX_API_KEYS`.
    """
    if caller.guest:
        raise AccountRequiredError
    made = _fresh(caller.user_id, name=name, scopes=scopes, expires_at=expires_at)
    async with res.db.acquire() as conn, conn.transaction():
        await _lock(conn, caller)
        await _insert(res, conn, made)
        await audit.record(
            conn,
            "api_key_made",
            subject=caller.user_id,
            actor=caller.user_id,
            key_id=str(made.api_key.id),
            scopes=list(made.api_key.scopes),
        )
    return made


async def list_keys(res: Resources, caller: Identity) -> list[ApiKey]:
    """Return the caller's keys, newest first; expired ones for `rules.API_KEY_AFTERLIFE`.

    Raises:
        SessionRevokedError: the caller's login has ended.
    """
    async with res.db.acquire() as conn:
        await ensure_alive(conn, caller)
        return await api_keys.list_api_keys(conn, caller.user_id)


async def rotate(res: Resources, caller: Identity, key_id: UUID, *, overlap: timedelta) -> MadeKey:
    """Make a key in the place of another, which ends after `overlap`.

    No token of the old one outlives it: an overlap is nothing, or longer than a token's life.

    Raises:
        SessionRevokedError: the caller's login has ended.
        ApiKeyNotFoundError: they have no such key.
        ApiKeyEndedError: it has a successor, so whoever asks twice gets one new key; or expired.
    """
    async with res.db.acquire() as conn, conn.transaction():
        await _lock(conn, caller)
        old = await api_keys.find_api_key(conn, caller.user_id, key_id)
        if old is None:
            raise ApiKeyNotFoundError
        if rules.has_key_ended(old, utc_now()):
            raise ApiKeyEndedError
        made = _fresh(caller.user_id, name=old.name, scopes=old.scopes, expires_at=old.expires_at)
        await _insert(res, conn, made)
        if overlap:
            await api_keys.replace_api_key(
                conn, old.id, replaced_by=made.api_key.id, expires_at=utc_now() + overlap
            )
        else:
            await end_keys(res, conn, caller.user_id, reason="logout", only=old.id)
        await audit.record(
            conn,
            "api_key_rotated",
            subject=caller.user_id,
            actor=caller.user_id,
            key_id=str(old.id),
            replaced_by=str(made.api_key.id),
            overlap_s=int(overlap.total_seconds()),
        )
    res.relay.nudge()
    return made


async def delete(res: Resources, caller: Identity, key_id: UUID) -> None:
    """Delete one of the caller's keys.

    Raises:
        SessionRevokedError: the caller's login has ended.
        ApiKeyNotFoundError: they have no such key.
    """
    async with res.db.acquire() as conn, conn.transaction():
        await _lock(conn, caller)
        if not await end_keys(res, conn, caller.user_id, reason="logout", only=key_id):
            raise ApiKeyNotFoundError
        await audit.record(
            conn,
            "api_key_deleted",
            subject=caller.user_id,
            actor=caller.user_id,
            key_id=str(key_id),
        )
    res.relay.nudge()


async def end_keys(
    res: Resources,
    conn: Connection,
    user_id: UUID,
    *,
    reason: RevocationReason,
    only: UUID | None = None,
) -> int:
    """Delete the user's keys, or `only` that one, have their tokens refused; return how many.

    The caller audits it and nudges the relay after the commit.
    """
    now = utc_now()
    ended = await api_keys.delete_api_keys(conn, user_id, only=only)
    for key_id in ended:
        await outbox.add(
            conn,
            SessionRevoked(
                user_id=user_id,
                session_id=key_id,
                tokens_expire_at=rules.tokens_expire_at(now, ttl_s=res.settings.access_token_ttl_s),
                reason=reason,
            ),
        )
    return len(ended)


async def exchange(res: Resources, key: str) -> Exchanged:
    """Trade a key for an access token that lives no longer than it.

    Raises:
        ApiKeyInvalidError: nobody has it.
        ApiKeyExpiredError: it is too old.
    """
    now = utc_now()
    async with res.db.acquire() as conn:
        api_key = await api_keys.use_api_key(conn, _hash(res, key), now)
    if api_key is None:
        raise ApiKeyInvalidError
    ttl_s = res.settings.access_token_ttl_s
    if api_key.expires_at is not None:
        ttl_s = min(ttl_s, int((api_key.expires_at - now).total_seconds()))
    if ttl_s <= 0:
        raise ApiKeyExpiredError
    token = res.keyring.sign(
        user_id=api_key.user_id,
        session_id=api_key.id,
        role=ROLE,
        issued_at=now,
        ttl_s=ttl_s,
        scopes=api_key.scopes,
    )
    return Exchanged(token, ttl_s)


async def _lock(conn: Connection, caller: Identity) -> None:
    """Make the user's changes of keys queue up, so that their number cannot be raced."""
    if not await api_keys.lock_owner(conn, caller.user_id):
        raise UserNotFoundError
    await ensure_alive(conn, caller)


def _fresh(
    user_id: UUID,
    *,
    name: str,
    scopes: Sequence[Scope],
    expires_at: datetime | None,
) -> MadeKey:
    key = make_key()
    api_key = ApiKey(
        id=new_id(),
        user_id=user_id,
        name=name,
        prefix=key[:SHOWN],
        scopes=tuple(sorted(set(scopes))),
        created_at=utc_now(),
        expires_at=expires_at,
    )
    return MadeKey(key, api_key)


async def _insert(res: Resources, conn: Connection, made: MadeKey) -> None:
    if await api_keys.count_api_keys(conn, made.api_key.user_id) >= rules.MAX_API_KEYS:
        raise TooManyApiKeysError(limit=rules.MAX_API_KEYS)
    await api_keys.insert_api_key(conn, made.api_key, _hash(res, made.key))


def _hash(res: Resources, key: str) -> bytes:
    return hmac.digest(res.api_key_hash_key, key.encode(), "sha256")
