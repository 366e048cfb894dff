"""What users may do."""

from libs.common.db import Connection
from libs.common.events import SubscriptionChanged
from services.chat.store.quotas import limits_of


async def upsert_entitlement(conn: Connection, event: SubscriptionChanged) -> None:
    """Keep what the event grants, unless a newer version is known or the user was deleted."""
    await conn.execute(
        """
        INSERT INTO entitlement AS e (
            user_id, version, plan, models, messages_per_day, messages_per_month, tokens_per_day,
            tokens_per_month, concurrent_replies
        )
        SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9 WHERE NOT is_deleted_user($1)
        ON CONFLICT (user_id) DO UPDATE SET version = EXCLUDED.version, plan = EXCLUDED.plan,
            models = EXCLUDED.models, messages_per_day = EXCLUDED.messages_per_day,
            messages_per_month = EXCLUDED.messages_per_month,
            tokens_per_day = EXCLUDED.tokens_per_day,
            tokens_per_month = EXCLUDED.tokens_per_month,
            concurrent_replies = EXCLUDED.concurrent_replies
        WHERE e.version < EXCLUDED.version
        """,
        event.user_id,
        event.version,
        event.plan,
        event.entitlements.models,
        *limits_of(event.entitlements),
    )
