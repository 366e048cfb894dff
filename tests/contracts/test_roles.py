"""A service's database role cannot reach what belongs to another service."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from libs.common.db import Connection
from tests.contracts.tree import SCHEMAS

pytestmark = pytest.mark.integration
PAIRS = [(role, other) for role in SCHEMAS for other in SCHEMAS if role != other]


@pytest.fixture
async def as_role(database_urls: dict[str, str], role: str) -> AsyncIterator[Connection]:
    conn = await asyncpg.connect(database_urls[role])
    yield conn
    await conn.close()


async def tables(conn: Connection, schema: str) -> list[str]:
    """Return the schema's tables; the catalogue shows names to every role."""
    rows = await conn.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", schema)
    return [row["tablename"] for row in rows]


@pytest.mark.parametrize(("role", "other"), PAIRS)
async def test_another_services_tables_can_be_neither_read_nor_written(
    as_role: Connection, other: str
) -> None:
    """P4: one schema for each service."""
    names = await tables(as_role, other)
    assert "outbox" in names, "the other service is migrated"
    for name in names:
        for statement in (f"SELECT FROM {other}.{name}", f"DELETE FROM {other}.{name}"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await as_role.execute(statement)


@pytest.mark.parametrize("role", SCHEMAS)
async def test_its_own_tables_can_be_read(as_role: Connection, role: str) -> None:
    for name in await tables(as_role, role):
        await as_role.execute(f"SELECT FROM {role}.{name}")


@pytest.mark.parametrize("role", SCHEMAS)
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE public.stray (id int)",
        "CREATE SCHEMA stray",
        "CREATE ROLE stray",
        "COPY (SELECT 1) TO PROGRAM 'true'",
    ],
)
async def test_nothing_can_be_made_outside_its_schema(as_role: Connection, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await as_role.execute(statement)


@pytest.mark.parametrize(("role", "other"), PAIRS)
async def test_another_services_role_cannot_be_taken(as_role: Connection, other: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await as_role.execute(f"SET ROLE {other}")


@pytest.mark.parametrize("role", SCHEMAS)
async def test_a_role_is_no_administrator(as_role: Connection, role: str) -> None:
    """P4: neither by its own right nor as a member of another."""
    row = await as_role.fetchrow(
        """
        SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
                AS is_more,
            (SELECT count(*) FROM pg_auth_members m WHERE m.member = r.oid) AS memberships
        FROM pg_roles r WHERE rolname = current_user
        """
    )
    assert row is not None
    assert (row["is_more"], row["memberships"]) == (False, 0)


async def test_no_foreign_key_leaves_a_schema(postgres_url: str, database_urls: object) -> None:
    """P4: and there are some that stay inside."""
    conn = await asyncpg.connect(postgres_url.rpartition("/")[0] + "/thoughtflow")
    rows = await conn.fetch(
        """
        SELECT f.relnamespace = t.relnamespace AS stays
        FROM pg_constraint
        JOIN pg_class f ON f.oid = conrelid
        JOIN pg_class t ON t.oid = confrelid
        WHERE contype = 'f'
        """
    )
    await conn.close()
    assert rows
    assert all(row["stays"] for row in rows)
