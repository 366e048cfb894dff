"""Apply SQL files to a schema, in order, under a lock.

`NNNN_verb_what.sql` runs once and is never edited afterwards; `R_noun.sql` (functions, views) runs
again whenever its text has changed, after the numbered ones.
"""

import hashlib
from pathlib import Path

from libs.common.db import Connection

SHARED = Path(__file__).parent / "migrations"


class MigrationEditedError(Exception):
    """An applied file no longer has the text that was applied."""


async def migrate(conn: Connection, *, schema: str, own: Path) -> list[str]:
    """Bring `schema` up to date with the shared and then the service's own files.

    Safe to run several times at once: one applies, the others wait and find nothing to do.

    Args:
        conn: a connection that may create objects in `schema`; its search_path is changed.
        schema: the service's schema, which exists and belongs to the connection's role.
        own: folder of the service's files.

    Returns:
        Names of the files applied now, e.g. `["common/0001_create_outbox_and_inbox.sql"]`.

    Raises:
        MigrationEditedError: an applied numbered file was changed; write a new one instead.
        asyncpg.PostgresError: a statement failed; that file is rolled back, later ones not tried.
    """
    await conn.execute("SELECT pg_advisory_lock(hashtext($1))", f"migrate:{schema}")
    try:
        await conn.execute(f'SET search_path = "{schema}"')
        await conn.execute(
            """
            CREATE TABLE IF NOT EXISTS schema_migration (
                name       text PRIMARY KEY,
                sha256     text        NOT NULL,
                applied_at timestamptz NOT NULL DEFAULT now()
            )
            """
        )
        rows = await conn.fetch("SELECT name, sha256 FROM schema_migration")
        applied = {row["name"]: row["sha256"] for row in rows}
        return [
            name
            for name, path in _files(own)
            if await _apply(conn, name, path.read_text(), applied.get(name))
        ]
    finally:
        await conn.execute("SELECT pg_advisory_unlock(hashtext($1))", f"migrate:{schema}")


def _files(own: Path) -> list[tuple[str, Path]]:
    shared = [(f"common/{path.name}", path) for path in sorted(SHARED.glob("[0-9]*.sql"))]
    numbered = [(path.name, path) for path in sorted(own.glob("[0-9]*.sql"))]
    return shared + numbered + [(path.name, path) for path in sorted(own.glob("R_*.sql"))]


async def _apply(conn: Connection, name: str, sql: str, applied_sha256: str | None) -> bool:
    sha256 = hashlib.sha256(sql.encode()).hexdigest()
    if applied_sha256 == sha256:
        return False
    if applied_sha256 is not None and not name.startswith("R_"):
        raise MigrationEditedError(name)
    async with conn.transaction():
        await conn.execute("SET LOCAL lock_timeout = '5s'")
        await conn.execute(sql)
        await conn.execute(
            """
            INSERT INTO schema_migration (name, sha256) VALUES ($1, $2)
            ON CONFLICT (name) DO UPDATE SET sha256 = EXCLUDED.sha256, applied_at = now()
            """,
            name,
            sha256,
        )
    return True
