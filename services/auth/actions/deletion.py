"""The end of an account."""

from collections.abc import Collection
from uuid import UUID

from libs.common import deleted_users, outbox
from libs.common.errors import PreconditionFailedError
from libs.common.events import UserDeleted
from services.auth.actions import api_keys, sessions
from services.auth.actions.accounts import read_user
from services.auth.errors import UserNotFoundError
from services.auth.resources import Resources
from services.auth.store import deletion as store
from services.auth.store import profiles


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
        await deleted_users.mark(conn, user_id)
        await deleted_users.delete_events(conn, user_id)
        await api_keys.end_keys(res, conn, user_id, reason="account")
        await sessions.end_sessions(res, conn, user_id, reason="account")
        await store.delete_account(conn, user_id)
        await store.delete_plan(conn, user_id)
        await outbox.add(conn, UserDeleted(user_id=user_id))
    res.relay.nudge()
    async with res.db.acquire() as conn:
        # Not before the commit: who logs in locks the code first, and the account behind it.
        await store.kill_code(conn, res.codes.identifier_hash(user.identifier))
