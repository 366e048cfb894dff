"""Every SQL literal of a store is understood by PostgreSQL, for the role that will run it."""

import ast
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from libs.common.db import Connection
from tests.contracts.tree import ROOT, SCHEMAS

RUNS_SQL = {"execute", "executemany", "fetch", "fetchmany", "fetchrow", "fetchval", "cursor"}
SHARED = tuple(ROOT / f"libs/common/{name}.py" for name in ("outbox", "inbox", "deleted_users"))


def sql_calls(path: Path) -> list[tuple[str, ast.expr]]:
    """Return (place, first argument) of each call that runs SQL."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Attribute(attr=attr), args=[sql, *_]) if attr in RUNS_SQL:
                found.append((f"{path.relative_to(ROOT)}:{node.lineno}", sql))
    return found


def stores(schema: str) -> list[Path]:
    """Return the module, or the modules of the package, that holds a service's SQL."""
    service = ROOT / f"services/{schema}"
    return [path for path in (service / "store.py", *service.glob("store/*.py")) if path.exists()]


STORES = [path for schema in SCHEMAS for path in stores(schema) if path.name != "__init__.py"]


def statements() -> list[tuple[str, str, str]]:
    """Return (role, place, SQL) of each statement; the shared ones for each role."""
    return [
        (schema, place, sql.value)
        for schema in SCHEMAS
        for path in (*stores(schema), *SHARED)
        for place, sql in sql_calls(path)
        if isinstance(sql, ast.Constant) and isinstance(sql.value, str)
    ]


@pytest.fixture(scope="module")
async def connections(database_urls: dict[str, str]) -> AsyncIterator[dict[str, Connection]]:
    """A connection per service, as its own role."""
    opened: dict[str, Connection] = {
        schema: await asyncpg.connect(database_urls[schema]) for schema in SCHEMAS
    }
    yield opened
    for conn in opened.values():
        await conn.close()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("schema", "place", "sql"),
    [pytest.param(*statement, id=f"{statement[0]}-{statement[1]}") for statement in statements()],
)
async def test_the_statement_prepares_as_the_services_own_role(
    connections: dict[str, Connection], schema: str, place: str, sql: str
) -> None:
    try:
        await connections[schema].prepare(sql)
    except asyncpg.PostgresError as problem:
        pytest.fail(f"{place} as {schema}: {problem}")


@pytest.mark.parametrize("path", [*STORES, *SHARED], ids=lambda p: str(p.relative_to(ROOT)))
def test_sql_is_written_as_literals_so_that_it_can_be_checked(path: Path) -> None:
    calls = sql_calls(path)
    computed = [place for place, sql in calls if not isinstance(sql, ast.Constant)]
    assert calls
    assert computed == []


@pytest.mark.parametrize("schema", SCHEMAS)
def test_only_the_store_of_a_service_runs_sql(schema: str) -> None:
    elsewhere = [
        place
        for path in (ROOT / f"services/{schema}").rglob("*.py")
        if path not in stores(schema) and "tests" not in path.parts
        for place, sql in sql_calls(path)
        # The probes of app.py and worker.py read no table.
        if isinstance(sql, ast.JoinedStr)
        or (isinstance(sql, ast.Constant) and sql.value != "SELECT 1")
    ]
    assert elsewhere == []
