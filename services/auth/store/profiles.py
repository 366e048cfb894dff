"""SQL of what people say of themselves."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from libs.common.db import Connection


async def lock_version(conn: Connection, user_id: UUID) -> int | None:
    """Lock the account until commit and return its version; None if there is none."""
    version: int | None = await conn.fetchval(
        "SELECT version FROM account WHERE id = $1 FOR UPDATE", user_id
    )
    return version


async def update_profile(conn: Connection, user_id: UUID, change: Mapping[str, Any]) -> None:
    """Change what is named, to null too, of an account that the caller has locked."""
    await conn.execute(
        """
        UPDATE account SET
            name = CASE WHEN $2::jsonb ? 'name' THEN $2 ->> 'name' ELSE name END,
            locale = CASE WHEN $2 ? 'locale' THEN $2 ->> 'locale' ELSE locale END,
            timezone = CASE WHEN $2 ? 'timezone' THEN $2 ->> 'timezone' ELSE timezone END,
            preferences = coalesce($2 -> 'preferences', preferences),
            version = version + 1
        WHERE id = $1
        """,
        user_id,
        json.dumps(change),
    )
