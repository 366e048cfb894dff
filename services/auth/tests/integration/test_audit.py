"""The audit log: complete, in order, and not to be changed unseen."""

import asyncio
from dataclasses import replace

import asyncpg
import pytest
from fastapi import FastAPI

from libs.common.clock import new_id
from libs.common.db import Connection, Pool
from services.auth.actions import audit
from services.auth.actions.audit import AuditBrokenError
from services.auth.settings import Settings
from services.auth.store.audit import list_audit
from services.auth.tests.integration.command import run

pytestmark = pytest.mark.integration


@pytest.fixture
def db(app: FastAPI) -> Pool:
    pool: Pool = app.state.resources.db
    return pool


async def write(db: Pool, count: int) -> None:
    for number in range(count):
        async with db.acquire() as conn, conn.transaction():
            await audit.record(conn, "login", subject=new_id(), actor=None, b=number, a="x")


async def tamper(conn: Connection, sql: str) -> None:
    """Do what only the owner of the table can: switch the trigger off."""
    await conn.execute("ALTER TABLE audit DISABLE TRIGGER audit_is_append_only")
    try:
        await conn.execute(sql)
    finally:
        await conn.execute("ALTER TABLE audit ENABLE TRIGGER audit_is_append_only")


async def test_entries_that_many_write_at_once_make_one_chain(db: Pool) -> None:
    await asyncio.gather(*(write(db, 5) for _ in range(12)))

    count, head = await audit.verify(db)

    assert count == 60
    assert len(head) == 64


async def test_an_empty_log_is_whole(db: Pool) -> None:
    assert await audit.verify(db) == (0, "0" * 64)


async def test_an_entry_of_a_transaction_that_rolls_back_leaves_no_gap(
    db: Pool, conn: Connection
) -> None:
    await write(db, 1)
    async with db.acquire() as other:
        transaction = other.transaction()
        await transaction.start()
        await audit.record(other, "login", subject=new_id(), actor=None)
        await transaction.rollback()
    await write(db, 1)

    assert (await audit.verify(db))[0] == 2
    assert await conn.fetchval("SELECT max(seq) FROM audit") == 2


@pytest.mark.parametrize("sql", ["UPDATE audit SET action = 'x'", "DELETE FROM audit"])
async def test_entries_are_neither_changed_nor_deleted(
    db: Pool, conn: Connection, sql: str
) -> None:
    await write(db, 2)

    with pytest.raises(asyncpg.RaiseError, match="only ever added to"):
        await conn.execute(sql)

    assert (await audit.verify(db))[0] == 2


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("UPDATE audit SET action = 'x' WHERE seq = 3", "entry 3 is not as it was written"),
        ("UPDATE audit SET detail = '{}' WHERE seq = 2", "entry 2 is not as it was written"),
        ("UPDATE audit SET subject = NULL WHERE seq = 2", "entry 2 is not as it was written"),
        ("UPDATE audit SET at = at + interval '1 us' WHERE seq = 4", "entry 4 is not as it was"),
        ("UPDATE audit SET hash = sha256('x') WHERE seq = 2", "entry 2 is not as it was written"),
        ("UPDATE audit SET prev_hash = sha256('x') WHERE seq = 1", "entry 1 is not as it was"),
        ("DELETE FROM audit WHERE seq = 1", "entry 1 is missing"),
        ("DELETE FROM audit WHERE seq = 3", "entry 3 is missing"),
        (
            "DELETE FROM audit WHERE seq = 2; UPDATE audit SET seq = seq - 1 WHERE seq > 2",
            "entry 2 is not as it was written",
        ),
    ],
)
async def test_the_first_entry_that_was_tampered_with_is_named(
    db: Pool, conn: Connection, sql: str, told: str
) -> None:
    await write(db, 5)
    await tamper(conn, sql)

    with pytest.raises(AuditBrokenError, match=told):
        await audit.verify(db)


async def test_an_entry_whose_own_hash_was_made_anew_breaks_the_next_one(
    db: Pool, conn: Connection
) -> None:
    await write(db, 5)
    third = (await list_audit(conn, after=2, limit=1))[0]
    forged = audit._hash_of(replace(third, action="x"))
    await tamper(conn, f"UPDATE audit SET action = 'x', hash = '\\x{forged.hex()}' WHERE seq = 3")

    with pytest.raises(AuditBrokenError, match="entry 4 is not as it was written"):
        await audit.verify(db)


async def test_an_entry_outside_a_transaction_is_refused(conn: Connection) -> None:
    with pytest.raises(RuntimeError, match="outside a transaction"):
        await audit.record(conn, "login", subject=None, actor=None)


async def test_the_command_tells_whether_the_log_is_whole(
    db: Pool, conn: Connection, settings: Settings
) -> None:
    await write(db, 3)
    whole = await asyncio.to_thread(run, settings, "verify-audit")
    await tamper(conn, "DELETE FROM audit WHERE seq = 2")
    broken = await asyncio.to_thread(run, settings, "verify-audit")

    assert (whole.returncode, whole.stdout[:10]) == (0, "3 entries,")
    assert (broken.returncode, broken.stderr.strip()) == (
        1,
        "the audit log is broken: entry 2 is missing",
    )
