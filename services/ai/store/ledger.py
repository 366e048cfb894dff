"""What was spent besides replies, whose rows are written together with their ends."""

from datetime import datetime
from uuid import UUID

from libs.common.db import Connection
from services.ai.models import Charge, Kind


async def insert_charge(
    conn: Connection,
    charge: Charge,
    *,
    kind: Kind,
    subject_id: UUID,
    user_id: UUID,
    chatroom_id: UUID,
    now: datetime,
    counts_days: bool,
) -> None:
    """Keep the charge, unless one for the same purpose is kept or the user was deleted.

    It goes into the budget, too; `counts_days` as of `generations.end_generation`.
    """
    await conn.execute(
        """
        WITH charged AS (
            INSERT INTO usage_ledger (
                kind, subject_id, user_id, chatroom_id, model, prompt_tokens, cached_tokens,
                output_tokens, thoughts_tokens, tools_tokens, total_tokens, price_version,
                cost_micros, estimated, ended_at)
            SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15
            WHERE NOT is_deleted_user($3)
            ON CONFLICT DO NOTHING
            RETURNING user_id, ended_at, cost_micros
        )
        SELECT settle_cost(user_id, ended_at, cost_micros, $16, NULL, NULL, NULL) FROM charged
        """,
        kind,
        subject_id,
        user_id,
        chatroom_id,
        charge.model,
        *charge.columns(),
        now,
        counts_days,
    )


async def is_charged(conn: Connection, *, kind: Kind, subject_id: UUID) -> bool:
    """Tell whether there is a row for the purpose."""
    found: bool = await conn.fetchval(
        "SELECT EXISTS (SELECT FROM usage_ledger WHERE kind = $1 AND subject_id = $2)",
        kind,
        subject_id,
    )
    return found
