"""SQL of what accounts are known by."""

from datetime import datetime
from uuid import UUID

import asyncpg

from libs.common.db import Connection
from services.auth.models import Identifier


async def release_identifier(conn: Connection, identifier: Identifier) -> None:
    """Delete a sign-up with the identifier that no code has verified: it was somebody else's."""
    await conn.execute(
        """
        DELETE FROM account
        WHERE (phone = $1 OR email = $2) AND verified_at IS NULL AND banned_at IS NULL
        """,
        identifier.phone,
        identifier.email,
    )


async def replace_identifier(conn: Connection, user_id: UUID, identifier: Identifier) -> bool:
    """Let the account be known by that and nothing else; false if another account is.

    False leaves the transaction good for nothing but a rollback.
    """
    try:
        await conn.execute(
            "UPDATE account SET phone = $2, email = $3, version = version + 1 WHERE id = $1",
            user_id,
            identifier.phone,
            identifier.email,
        )
    except asyncpg.UniqueViolationError:
        return False
    return True


async def upgrade_guest(
    conn: Connection, user_id: UUID, identifier: Identifier, *, name: str | None, now: datetime
) -> bool:
    """Let the guest be known by the identifier, and by `name` if they have none.

    Returns:
        False if they are no guest any more, or the identifier is another account's; then the
        transaction is good for nothing but a rollback.
    """
    try:
        upgraded = await conn.fetchval(
            """
            UPDATE account
            SET phone = $2, email = $3, name = coalesce(name, $4), verified_at = $5, guest = false,
                version = version + 1
            WHERE id = $1 AND guest
            RETURNING true
            """,
            user_id,
            identifier.phone,
            identifier.email,
            name,
            now,
        )
    except asyncpg.UniqueViolationError:
        return False
    return upgraded is not None
