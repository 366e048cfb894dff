"""What users may do."""

from libs.common.db import Connection
from libs.common.events import SubscriptionChanged


async def upsert_entitlement(conn: Connection, event: SubscriptionChanged) -> None:
    """Keep what the event grants, unless a newer version is known or the user was deleted."""
    await conn.execute(
        """
        INSERT INTO entitlement AS e (user_id, version, plan, messages_per_day, models)
        SELECT $1, $2, $3, $4, $5 WHERE NOT is_deleted_user($1)
        ON CONFLICT (user_id) DO UPDATE SET version = EXCLUDED.version, plan = EXCLUDED.plan,
            messages_per_day = EXCLUDED.messages_per_day, models = EXCLUDED.models
        WHERE e.version < EXCLUDED.version
        """,
        event.user_id,
        event.version,
        event.plan,
        event.entitlements.messages_per_day,
        event.entitlements.models,
    )
