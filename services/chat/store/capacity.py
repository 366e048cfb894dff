"""Whose posts go first."""

from uuid import UUID

from libs.common.db import Connection


async def plan_of(conn: Connection, user_id: UUID) -> str:
    """Return the user's plan; of whom billing never spoke is on Basic."""
    plan: str = await conn.fetchval(
        "SELECT coalesce((SELECT plan FROM entitlement WHERE user_id = $1), 'basic')", user_id
    )
    return plan
