"""The end of an account."""

from collections.abc import Collection
from uuid import UUID

from libs.common import deleted_users, outbox
from libs.common.clock import utc_now
from libs.common.db import Connection
from libs.common.errors import PreconditionFailedError
from libs.common.events import UserDeleted
from services.auth import rules
from services.auth.actions import api_keys, sessions
from services.auth.actions.accounts import read_user
from services.auth.errors import UserNotFoundError
from services.auth.resources import Resources
from services.auth.store import deletion as store
from services.auth.store import external_logins, guests, profiles


async def delete_me(
    res: Resources, user_id: UUID, *, versions: Collection[int] | None = None
) -> None:
    """Erase what auth knows of the user, and announce it to those who know more.

    In one transaction with the event, so the others hear of it whatever dies.

    Raises:
        UserNotFoundError: the account was deleted before.
        PreconditionFailedError: its version is none of `versions`.
    """
    async with res.db.acquire() as conn, conn.transaction():
        version = await profiles.lock_version(conn, user_id)
        if version is None:
            raise UserNotFoundError
        if versions is not None and version not in versions:
            raise PreconditionFailedError("it has changed meanwhile; read it again and repeat")
        user = await read_user(conn, user_id)
        await _erase(res, conn, user_id)
    res.relay.nudge()
    if user.identifier is not None:
        async with res.db.acquire() as conn:
            # Not before the commit: who logs in locks the code first, and the account behind it.
            await store.kill_code(conn, res.codes.identifier_hash(user.identifier))


async def erase_idle_guests(res: Resources, *, limit: int) -> int:
    """Erase up to `limit` guests who were not here for `rules.GUEST_LIFE`; return how many.

    One at a time, each looked at again under its lock: they may be back, or have signed up.
    """
    before = utc_now() - rules.GUEST_LIFE
    async with res.db.acquire() as conn:
        idle = await guests.list_idle_guests(conn, before=before, limit=limit)
    erased = 0
    for user_id in idle:
        async with res.db.acquire() as conn, conn.transaction():
            if await guests.lock_idle_guest(conn, user_id, before=before):
                await _erase(res, conn, user_id)
                erased += 1
    res.relay.nudge()
    return erased


async def _erase(res: Resources, conn: Connection, user_id: UUID) -> None:
    await deleted_users.mark(conn, user_id)
    await deleted_users.delete_events(conn, user_id)
    await api_keys.end_keys(res, conn, user_id, reason="account")
    await sessions.end_sessions(res, conn, user_id, reason="account")
    await external_logins.refuse_earlier(conn, user_id, until=utc_now())
    await store.delete_account(conn, user_id)
    await store.delete_plan(conn, user_id)
    await outbox.add(conn, UserDeleted(user_id=user_id))
