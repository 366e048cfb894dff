"""What people say of themselves."""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from libs.common import outbox
from libs.common.errors import PreconditionFailedError
from libs.common.events import UserChanged
from services.auth.actions.accounts import read_user
from services.auth.errors import UserNotFoundError
from services.auth.models import User
from services.auth.resources import Resources
from services.auth.store import profiles


async def change_me(
    res: Resources,
    user_id: UUID,
    change: Mapping[str, Any],
    *,
    versions: Collection[int] | None,
) -> User:
    """Change what is named, and tell those who keep a copy.

    Args:
        res: the service's resources.
        user_id: the caller.
        change: new values of any of name, locale, timezone and preferences.
        versions: which versions may be changed; None is any.

    Raises:
        UserNotFoundError: the account was deleted after the token was issued.
        PreconditionFailedError: its version is none of `versions`.
    """
    async with res.db.acquire() as conn, conn.transaction():
        version = await profiles.lock_version(conn, user_id)
        if version is None:
            raise UserNotFoundError
        if versions is not None and version not in versions:
            raise PreconditionFailedError("it has changed meanwhile; read it again and repeat")
        await profiles.update_profile(conn, user_id, change)
        user = await read_user(conn, user_id)
        if not user.guest:  # of whom nobody else has heard yet
            await outbox.add(conn, user_changed(user))
    res.relay.nudge()
    return user


def user_changed(user: User) -> UserChanged:
    """Return the event that tells how the user can be reached from now on."""
    return UserChanged(
        user_id=user.id,
        version=user.version,
        email=user.email,
        phone=user.phone,
        name=user.name,
    )
