import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from libs.common.db import Connection
from libs.common.migrate import MigrationEditedError, migrate

pytestmark = pytest.mark.integration
SCHEMA = "migrate_test"
SHARED = [
    "common/0001_create_outbox_and_inbox.sql",
    "common/0002_create_deleted_user.sql",
    "common/0003_let_outbox_rows_wait.sql",
]


@pytest.fixture
async def admin(postgres_url: str) -> AsyncIterator[Connection]:
    """A connection that may do anything, to a database with an empty schema `SCHEMA`."""
    admin = await asyncpg.connect(postgres_url)
    await admin.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; CREATE SCHEMA {SCHEMA}")
    yield admin
    await admin.execute(f"DROP SCHEMA {SCHEMA} CASCADE")
    await admin.close()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "R_two.sql").write_text("DROP FUNCTION IF EXISTS two; " + two(2))
    (tmp_path / "0001_create_tea.sql").write_text("CREATE TABLE tea (id int)")
    (tmp_path / "0002_add_name.sql").write_text("ALTER TABLE tea ADD name text")
    return tmp_path


def two(value: int) -> str:
    return f"CREATE FUNCTION two() RETURNS int LANGUAGE sql AS 'SELECT {value} FROM tea'"


async def run(postgres_url: str, files: Path) -> list[str]:
    conn = await asyncpg.connect(postgres_url)
    try:
        return await migrate(conn, schema=SCHEMA, own=files)
    finally:
        await conn.close()


async def test_of_many_at_once_each_file_is_applied_by_one(
    admin: Connection, postgres_url: str, files: Path
) -> None:
    applied = await asyncio.gather(*(run(postgres_url, files) for _ in range(5)))

    assert sorted(len(names) for names in applied) == [0, 0, 0, 0, len(SHARED) + 3]
    assert max(applied, key=len) == [
        *SHARED,
        "0001_create_tea.sql",
        "0002_add_name.sql",
        "R_two.sql",
    ]


async def test_an_applied_file_that_was_edited_is_refused_and_nothing_else_is_done(
    admin: Connection, postgres_url: str, files: Path
) -> None:
    await run(postgres_url, files)
    (files / "0001_create_tea.sql").write_text("CREATE TABLE tea (id int, milk bool)")
    (files / "0003_create_cup.sql").write_text("CREATE TABLE cup (id int)")

    with pytest.raises(MigrationEditedError, match=r"0001_create_tea\.sql"):
        await run(postgres_url, files)

    assert await admin.fetchval(f"SELECT to_regclass('{SCHEMA}.cup')") is None


async def test_a_repeatable_file_is_applied_again_when_its_text_changes(
    admin: Connection, postgres_url: str, files: Path
) -> None:
    await run(postgres_url, files)
    (files / "R_two.sql").write_text("DROP FUNCTION IF EXISTS two; " + two(3))

    assert await run(postgres_url, files) == ["R_two.sql"]
    assert await run(postgres_url, files) == []


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("SELECT 1 / 0", asyncpg.DivisionByZeroError),
        (  # the file is fine, and cannot be noted as applied
            "ALTER TABLE schema_migration ADD CHECK (name <> '0002_add_name.sql') NOT VALID",
            asyncpg.CheckViolationError,
        ),
    ],
    ids=["statement", "note"],
)
async def test_a_file_that_fails_leaves_nothing_behind_and_the_next_run_starts_with_it(
    admin: Connection,
    postgres_url: str,
    files: Path,
    statement: str,
    problem: type[asyncpg.PostgresError],
) -> None:
    second = files / "0002_add_name.sql"
    good = second.read_text()
    second.write_text(f"{good}; {statement}")

    with pytest.raises(problem):
        await run(postgres_url, files)

    second.write_text(good)
    assert await run(postgres_url, files) == ["0002_add_name.sql", "R_two.sql"]
