"""Apply SQL files to a schema, in order, under a lock.

`NNNN_verb_what.sql` runs once and is never edited afterwards; `R_noun.sql` (functions, views) runs
again whenever its text has changed, after the numbered ones.

A file runs in one transaction, unless its first line is `-- no transaction`: it then holds one
`CREATE INDEX CONCURRENTLY`, which does not keep writers waiting and cannot run in one.
"""

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path

from libs.common.db import Connection

SHARED = Path(__file__).parent / "migrations"
LOCK_TIMEOUT_S = 5
"""Seconds that a statement waits for a lock, and so keeps everybody behind it waiting, too."""

NO_TRANSACTION = "-- no transaction\n"
_POLL_S = 0.2


class MigrationEditedError(Exception):
    """An applied file no longer has the text that was applied."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a schema and the files of this release say of each other, by names of files.

    Attributes:
        pending: not applied yet, or repeatable and applied with an older text.
        edited: applied with another text, and not repeatable.
        unknown: applied, and no file of this release.
    """

    pending: list[str]
    edited: list[str]
    unknown: list[str]


async def compare(conn: Connection, *, own: Path) -> Comparison:
    """Compare the schema that `conn` looks at with the files; everything is pending without one."""
    applied: dict[str, str] = {}
    if await conn.fetchval("SELECT to_regclass('schema_migration') IS NOT NULL"):
        applied = await _applied(conn)
    files = {name: _sha256(path.read_text()) for name, path in _files(own)}
    changed = {name for name, sha256 in files.items() if applied.get(name, sha256) != sha256}
    return Comparison(
        pending=[
            name for name in files if name not in applied or (name in changed and _repeats(name))
        ],
        edited=[name for name in files if name in changed and not _repeats(name)],
        unknown=sorted(applied.keys() - files.keys()),
    )


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
    # Not pg_advisory_lock: who waits in a statement holds a snapshot, and the one who has the lock
    # would wait for its end to finish an index.
    lock = f"migrate:{schema}"
    while not await conn.fetchval("SELECT pg_try_advisory_lock(hashtext($1))", lock):  # noqa: ASYNC110
        await asyncio.sleep(_POLL_S)
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
        await _drop_unfinished_indexes(conn, schema)
        applied = await _applied(conn)
        return [
            name
            for name, path in _files(own)
            if await _apply(conn, name, path.read_text(), applied.get(name))
        ]
    finally:
        await conn.execute("SELECT pg_advisory_unlock(hashtext($1))", lock)


def _files(own: Path) -> list[tuple[str, Path]]:
    shared = [(f"common/{path.name}", path) for path in sorted(SHARED.glob("[0-9]*.sql"))]
    numbered = [(path.name, path) for path in sorted(own.glob("[0-9]*.sql"))]
    return shared + numbered + [(path.name, path) for path in sorted(own.glob("R_*.sql"))]


async def _applied(conn: Connection) -> dict[str, str]:
    rows = await conn.fetch("SELECT name, sha256 FROM schema_migration")
    return {row["name"]: row["sha256"] for row in rows}


async def _apply(conn: Connection, name: str, sql: str, applied_sha256: str | None) -> bool:
    sha256 = _sha256(sql)
    if applied_sha256 == sha256:
        return False
    if applied_sha256 is not None and not _repeats(name):
        raise MigrationEditedError(name)
    if sql.startswith(NO_TRANSACTION):
        await conn.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'")
        await conn.execute(sql)
        await _note(conn, name, sha256)
        return True
    async with conn.transaction():
        await conn.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'")
        await conn.execute(sql)
        await _note(conn, name, sha256)
    return True


async def _note(conn: Connection, name: str, sha256: str) -> None:
    await conn.execute(
        """
        INSERT INTO schema_migration (name, sha256) VALUES ($1, $2)
        ON CONFLICT (name) DO UPDATE SET sha256 = EXCLUDED.sha256, applied_at = now()
        """,
        name,
        sha256,
    )


async def _drop_unfinished_indexes(conn: Connection, schema: str) -> None:
    """Drop what an interrupted CREATE INDEX CONCURRENTLY left: no query uses it."""
    rows = await conn.fetch(
        """
        SELECT indexrelid::regclass::text AS name
        FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
        WHERE NOT indisvalid AND relnamespace = to_regnamespace($1) AND relkind = 'i'
        """,
        f'"{schema}"',
    )
    for row in rows:
        await conn.execute(f"DROP INDEX {row['name']}")


def _sha256(sql: str) -> str:
    return hashlib.sha256(sql.encode()).hexdigest()


def _repeats(name: str) -> bool:
    return name.startswith("R_")
