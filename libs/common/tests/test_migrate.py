import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from libs.common.db import Connection
from libs.common.migrate import LOCK_TIMEOUT_S, SHARED, MigrationEditedError, compare, migrate
from libs.common.testing import eventually

pytestmark = pytest.mark.integration
SCHEMA = "migrate_test"
COMMON = [f"common/{path.name}" for path in sorted(SHARED.glob("*.sql"))]
INDEX = "-- no transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS tea_by_id ON tea (id)"


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

    assert sorted(len(names) for names in applied) == [0, 0, 0, 0, len(COMMON) + 3]
    assert max(applied, key=len) == [
        *COMMON,
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


async def test_a_file_that_cannot_get_its_lock_gives_up_and_the_next_run_applies_it(
    admin: Connection, postgres_url: str, files: Path
) -> None:
    """M1: as long as it waits, all who come after it wait, too."""
    second = files / "0002_add_name.sql"
    second.rename(files / "kept")
    await run(postgres_url, files)
    (files / "kept").rename(second)

    async with asyncio.timeout(LOCK_TIMEOUT_S + 5), admin.transaction():
        await admin.execute(f"SELECT FROM {SCHEMA}.tea")  # as a reader that does not end
        with pytest.raises(asyncpg.LockNotAvailableError):
            await run(postgres_url, files)

    assert await run(postgres_url, files) == ["0002_add_name.sql"]


async def test_an_index_is_built_while_rows_are_written_and_another_run_waits(
    admin: Connection, postgres_url: str, files: Path
) -> None:
    """M1: and none of them waits for ever, as two would who wait in a statement."""
    await run(postgres_url, files)
    (files / "0003_index_tea.sql").write_text(INDEX)

    writer = await asyncpg.connect(postgres_url)
    async with asyncio.timeout(20):
        async with admin.transaction():
            await admin.execute(f"INSERT INTO {SCHEMA}.tea VALUES (1)")  # the build waits for it
            runs = [asyncio.create_task(run(postgres_url, files)) for _ in range(2)]
            await eventually(lambda: is_waiting(writer))
            await writer.execute(f"INSERT INTO {SCHEMA}.tea VALUES (2)", timeout=2)
        applied = await asyncio.gather(*runs)
    await writer.close()

    assert sorted(applied) == [[], ["0003_index_tea.sql"]]


async def is_waiting(conn: Connection) -> bool:
    return bool(
        await conn.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%CONCURRENTLY%'"
            " AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()"
        )
    )


async def test_an_index_that_was_interrupted_is_built_anew(
    admin: Connection, postgres_url: str, files: Path
) -> None:
    """M1: `IF NOT EXISTS` alone would take the half of one that was left for the whole."""
    await run(postgres_url, files)
    await admin.execute(f"INSERT INTO {SCHEMA}.tea VALUES (1), (1)")
    with pytest.raises(asyncpg.UniqueViolationError):  # leaves it, as a kill does
        await admin.execute(f"CREATE UNIQUE INDEX CONCURRENTLY tea_by_id ON {SCHEMA}.tea (id)")
    (files / "0003_index_tea.sql").write_text(INDEX)

    assert await run(postgres_url, files) == ["0003_index_tea.sql"]

    is_valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)"
    assert await admin.fetchval(is_valid, f"{SCHEMA}.tea_by_id")


async def test_what_is_pending_edited_or_unknown_is_told_without_a_change(
    admin: Connection, postgres_url: str, files: Path
) -> None:
    await admin.execute(f"SET search_path = {SCHEMA}")
    own = ["0001_create_tea.sql", "0002_add_name.sql", "R_two.sql"]
    before = await compare(admin, own=files)
    await run(postgres_url, files)
    after = await compare(admin, own=files)
    (files / "0001_create_tea.sql").write_text("CREATE TABLE tea (id int, milk bool)")
    (files / "0002_add_name.sql").rename(files / "0003_add_name.sql")
    (files / "R_two.sql").write_text(two(3))
    changed = await compare(admin, own=files)

    assert (before.pending, before.edited, before.unknown) == ([*COMMON, *own], [], [])
    assert (after.pending, after.edited, after.unknown) == ([], [], [])
    assert changed.pending == ["0003_add_name.sql", "R_two.sql"]
    assert (changed.edited, changed.unknown) == ([own[0]], [own[1]])
