"""SQL of what accounts are known by."""

from uuid import UUID

import asyncpg

from libs.common.db import Connection
from services.auth.models import Identifier


async def release_identifier(conn: Connection, identifier: Identifier) -> None:
    """Delete a sign-up with the identifier that no code has verified: it was somebody else's."""
    await conn.execute(
        "DELETE FROM account WHERE (phone = $1 OR email = $2) AND verified_at IS NULL",
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
