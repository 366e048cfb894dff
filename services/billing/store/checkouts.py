"""SQL of the sessions that users may pay."""

from datetime import datetime
from uuid import UUID

from libs.common.db import Connection
from services.billing.models import Checkout


async def checkout_of(conn: Connection, user_id: UUID) -> Checkout | None:
    """Return the session that the user was last given, if it may be payable still."""
    row = await conn.fetchrow(
        """
        SELECT session_id, url, expires_at, price_id FROM checkout
        WHERE user_id = $1 AND settled_at IS NULL
        """,
        user_id,
    )
    return Checkout(**row) if row else None


async def upsert_checkout(conn: Connection, user_id: UUID, checkout: Checkout) -> None:
    """Store the user's session in place of an earlier one."""
    await conn.execute(
        """
        INSERT INTO checkout (user_id, session_id, url, expires_at, price_id)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (user_id) DO UPDATE
        SET session_id = EXCLUDED.session_id, url = EXCLUDED.url, expires_at = EXCLUDED.expires_at,
            price_id = EXCLUDED.price_id, settled_at = NULL
        """,
        user_id,
        checkout.session_id,
        checkout.url,
        checkout.expires_at,
        checkout.price_id,
    )


async def user_of_session(conn: Connection, session_id: str) -> tuple[UUID, bool] | None:
    """Return whose last session it is and whether it is settled, None if it is nobody's."""
    row = await conn.fetchrow(
        "SELECT user_id, settled_at IS NOT NULL AS settled FROM checkout WHERE session_id = $1",
        session_id,
    )
    return (row["user_id"], row["settled"]) if row else None


async def settle_checkout(
    conn: Connection, user_id: UUID, *, at: datetime, unless_open_at: datetime
) -> None:
    """Note that the user's session needs no more looks, unless it expires after `unless_open_at`.

    Its id is kept: the person may come back to the page after the payment.
    """
    await conn.execute(
        """
        UPDATE checkout SET settled_at = $2
        WHERE user_id = $1 AND settled_at IS NULL AND expires_at <= $3
        """,
        user_id,
        at,
        unless_open_at,
    )
