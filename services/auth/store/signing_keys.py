"""SQL of the keys that sign access tokens."""

from datetime import datetime

from libs.common.db import Connection
from services.auth.models import SealedKey


async def lock_signing_keys(conn: Connection) -> None:
    """Make other processes that want to create the first key wait until commit."""
    await conn.execute("SELECT pg_advisory_xact_lock(hashtext('auth.signing_key'))")


async def list_signing_keys(conn: Connection) -> list[SealedKey]:
    """Return all signing keys, oldest first."""
    rows = await conn.fetch(
        "SELECT kid, sealed, signs_from FROM signing_key ORDER BY created_at, kid"
    )
    return [SealedKey(**row) for row in rows]


async def insert_signing_key(conn: Connection, key: SealedKey, now: datetime) -> None:
    """Store a signing key."""
    await conn.execute(
        "INSERT INTO signing_key (kid, sealed, signs_from, created_at) VALUES ($1, $2, $3, $4)",
        key.kid,
        key.sealed,
        key.signs_from,
        now,
    )


async def delete_retired_keys(conn: Connection, *, before: datetime) -> None:
    """Delete the keys whose successor has signed since before then."""
    await conn.execute(
        """
        DELETE FROM signing_key AS old WHERE EXISTS (
            SELECT FROM signing_key AS successor
            WHERE successor.created_at > old.created_at AND successor.signs_from < $1
        )
        """,
        before,
    )
