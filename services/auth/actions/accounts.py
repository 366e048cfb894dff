"""Accounts: who signed up, and what the rest of auth knows of them."""

from uuid import UUID

from libs.common import inbox
from libs.common.clock import new_id, utc_now
from libs.common.db import Connection
from libs.common.events import SubscriptionChanged
from services.auth.actions import addresses, sends
from services.auth.errors import UserNotFoundError
from services.auth.models import Identifier, User
from services.auth.resources import Resources
from services.auth.store import accounts


async def sign_up(
    res: Resources, identifier: Identifier, *, name: str | None, address: str
) -> None:
    """Create the identifier's account unless it has one.

    Nobody else hears of it before a code has proved whose identifier it is. Until then the name
    is the last one sent: somebody else may have been here before its owner.

    Raises:
        AddressLimitError: too many sign-ups came from the address's network.
        ChannelUnavailableError, CountryNotAllowedError: no code could reach the identifier.
    """
    sends.ensure_reachable(res, identifier)
    async with res.db.acquire() as conn, conn.transaction():
        counted = await addresses.count(
            res, conn, address, what="signup", limit=res.settings.address_signups_per_hour
        )
        if not counted.is_over:
            await accounts.upsert_account(
                conn, identifier, user_id=new_id(), name=name, now=utc_now()
            )
    counted.ensure_allowed()


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
    user = await accounts.find_user(conn, user_id)
    if user is None:
        raise UserNotFoundError
    return user


async def record_plan(res: Resources, event: SubscriptionChanged) -> None:
    """Keep the user's plan unless we know a newer one; the user may still be unknown."""
    async with res.db.acquire() as conn, conn.transaction():
        if not await inbox.first_time(conn, consumer=event.TYPE, event_id=event.event_id):
            return
        await accounts.share_account(conn, event.user_id)
        await accounts.upsert_plan(
            conn, user_id=event.user_id, version=event.version, plan=event.plan
        )
