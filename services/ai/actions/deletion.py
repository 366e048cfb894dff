"""The end of a user."""

from libs.common import deleted_users
from libs.common.clock import utc_now
from libs.common.deleted_users import StillErasingError
from libs.common.events import UserDeleted
from libs.common.replies import stream_key
from services.ai.resources import Resources
from services.ai.store import deletion as store


async def forget_user(res: Resources, event: UserDeleted) -> None:
    """Stop what is being written for the user, then erase everything but what was spent.

    A second time does nothing.

    Raises:
        StillErasingError: something is still being written; the event comes again.
        redis.exceptions.RedisError: Redis is away; the delivery waits for it.
    """
    user_id = event.user_id
    async with res.db.acquire() as conn:
        await deleted_users.mark(conn, user_id)
        await deleted_users.settle(conn)
        if await store.stop_generations(conn, user_id, now=utc_now()):
            # Each ends as it always does, so that what it cost is in the ledger.
            raise StillErasingError("replies of the user are still being written")
        streams = await store.list_streams(conn, user_id)
        keys = [
            stream_key(user_id=user_id, chatroom_id=chatroom_id, reply_id=reply_id)
            for chatroom_id, reply_id in streams
        ]
        await res.replies.forget(user_id, keys)
        async with conn.transaction():
            await store.delete_generations(conn, user_id)
            await store.delete_budget(conn, user_id)
            await store.anonymise_ledger(conn, user_id)
            await deleted_users.delete_events(conn, user_id)
