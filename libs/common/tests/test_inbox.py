import pytest

from libs.common import inbox
from libs.common.clock import new_id
from libs.common.db import Connection, open_pool

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(("age", "is_kept"), [("13 days 23 hours", True), ("14 days 1 s", False)])
async def test_events_are_remembered_for_fourteen_days(
    conn: Connection, database_urls: dict[str, str], schema: str, age: str, is_kept: bool
) -> None:
    """E7: 7 days are promised."""
    event_id = new_id()
    assert await inbox.first_time(conn, consumer="test", event_id=event_id)
    await conn.execute(f"UPDATE inbox SET handled_at = now() - interval '{age}'")

    async with await open_pool(database_urls[schema], schema=schema) as pool:
        assert await inbox.purge(pool) == (not is_kept)

    assert await inbox.first_time(conn, consumer="test", event_id=event_id) is not is_kept


async def test_more_than_a_batch_is_purged_at_once(
    conn: Connection,
    database_urls: dict[str, str],
    schema: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inbox, "PURGE_BATCH", 2)
    await conn.execute(
        "INSERT INTO inbox SELECT 'test', gen_random_uuid(), now() - interval '15 days'"
        " FROM generate_series(1, 5)"
    )

    async with await open_pool(database_urls[schema], schema=schema) as pool:
        assert await inbox.purge(pool) == 5
