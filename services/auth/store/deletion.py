"""SQL of an account's end."""

from uuid import UUID

from libs.common.db import Connection


async def delete_account(conn: Connection, user_id: UUID) -> None:
    """Delete the account with its sessions and API keys."""
    await conn.execute("DELETE FROM account WHERE id = $1", user_id)


async def delete_plan(conn: Connection, user_id: UUID) -> None:
    """Delete what billing said of the user."""
    await conn.execute("DELETE FROM plan WHERE user_id = $1", user_id)


async def kill_code(conn: Connection, identifier_hash: bytes) -> None:
    """Let the identifier's live code be good for nothing; what was counted stays.

    Else deleting an account would be the way to send as many codes as one likes.
    """
    await conn.execute(
        "UPDATE one_time_code SET used_at = coalesce(used_at, now()) WHERE identifier_hash = $1",
        identifier_hash,
    )
