"""Other people's accounts: finding, banning and unbanning them."""

from uuid import UUID

from libs.common.clock import utc_now
from libs.common.db import Connection
from libs.common.identity import Identity
from libs.common.roles import RoleMissingError
from services.auth.access_errors import OwnAccountError
from services.auth.access_models import ListedUser
from services.auth.actions import audit
from services.auth.actions.accounts import read_user
from services.auth.actions.api_keys import end_keys
from services.auth.actions.sessions import end_sessions
from services.auth.errors import UserNotFoundError
from services.auth.models import Identifier
from services.auth.resources import Resources
from services.auth.store import bans, profiles, roles


async def list_users(
    res: Resources,
    *,
    user_id: UUID | None,
    identifier: Identifier | None,
    before: UUID | None,
    limit: int,
) -> list[ListedUser]:
    """Return up to `limit` accounts older than `before`, newest first; see the store's."""
    async with res.db.acquire() as conn:
        return await bans.list_users(
            conn, user_id=user_id, identifier=identifier, before=before, limit=limit
        )


async def ban(res: Resources, caller: Identity, user_id: UUID, *, reason: str) -> ListedUser:
    """Let the user neither log in nor refresh; end their sessions and API keys.

    Once more, it changes the reason and nothing else.

    Raises:
        RoleMissingError: the caller is no admin any more.
        OwnAccountError: it is the caller.
        UserNotFoundError: there is no such account.
    """
    async with res.db.acquire() as conn, conn.transaction():
        was_banned = await _lock(conn, caller, user_id)
        await bans.ban_account(conn, user_id, reason=reason, now=utc_now())
        banned = await _read(conn, user_id)
        if not was_banned:
            keys = await end_keys(res, conn, user_id, reason="account")
            await end_sessions(res, conn, user_id, reason="account")
            await audit.record(conn, "banned", subject=user_id, actor=caller.user_id, keys=keys)
    res.relay.nudge()
    return banned


async def unban(res: Resources, caller: Identity, user_id: UUID) -> ListedUser:
    """Let the user log in again; sessions and API keys that ended stay ended.

    Raises:
        RoleMissingError, OwnAccountError, UserNotFoundError: as `ban` has it.
    """
    async with res.db.acquire() as conn, conn.transaction():
        was_banned = await _lock(conn, caller, user_id)
        await bans.unban_account(conn, user_id)
        unbanned = await _read(conn, user_id)
        if was_banned:
            await audit.record(conn, "unbanned", subject=user_id, actor=caller.user_id)
    return unbanned


async def _lock(conn: Connection, caller: Identity, user_id: UUID) -> bool:
    """Lock the account and tell whether it is banned.

    The caller is looked at again under the lock of all admins: of two who ban each other at the
    same time, one stays. So there is always one left.
    """
    admins = await roles.lock_admins(conn)
    if caller.user_id not in admins:
        raise RoleMissingError("admin")
    if caller.user_id == user_id:
        raise OwnAccountError
    if await profiles.lock_version(conn, user_id) is None:
        raise UserNotFoundError("there is no such account; GET /admin/user finds accounts")
    return (await read_user(conn, user_id)).banned


async def _read(conn: Connection, user_id: UUID) -> ListedUser:
    (found,) = await bans.list_users(conn, user_id=user_id, identifier=None, before=None, limit=1)
    return found
