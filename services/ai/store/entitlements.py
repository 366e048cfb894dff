"""What users may choose, and spend."""

from uuid import UUID

from libs.common.db import Connection
from libs.common.events import SubscriptionChanged


async def upsert_entitlement(conn: Connection, event: SubscriptionChanged) -> None:
    """Keep what the event grants, unless a newer version is known or the user was deleted."""
    await conn.execute(
        """
        INSERT INTO entitlement AS e (user_id, version, models, cost_micros_per_month)
        SELECT $1, $2, $3, $4 WHERE NOT is_deleted_user($1)
        ON CONFLICT (user_id) DO UPDATE SET version = EXCLUDED.version, models = EXCLUDED.models,
            cost_micros_per_month = EXCLUDED.cost_micros_per_month
        WHERE e.version < EXCLUDED.version
        """,
        event.user_id,
        event.version,
        list(event.entitlements.models),
        event.entitlements.cost_micros_per_month,
    )


async def models_of(conn: Connection, user_id: UUID) -> list[str] | None:
    """Return the models that the user may choose, None if billing never spoke of the user."""
    models: list[str] | None = await conn.fetchval(
        "SELECT models FROM entitlement WHERE user_id = $1", user_id
    )
    return models
