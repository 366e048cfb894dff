import pytest
from fastapi import FastAPI

from libs.common.db import Connection
from services.auth.actions import housekeeping
from services.auth.tests.integration.person import Person, wrong

pytestmark = pytest.mark.integration

OVER = [
    ("one_time_code", "expires_at = now() - interval '61 minutes', failures_since = NULL"),
    (
        "one_time_code",
        "expires_at = now() - interval '61 minutes', failures_since = now() - interval '25 hours'",
    ),
    ("session", "expires_at = now() - interval '61 minutes'"),
    ("address_count", "since = now() - interval '61 minutes'"),
    ("account", "created_at = now() - interval '8 days', verified_at = NULL"),
    ("code_delivery", "expires_at = now() - interval '25 hours'"),
    ("send_budget", "since = now() - interval '61 minutes'"),
]
NEEDED = [
    ("one_time_code", "expires_at = now() - interval '59 minutes', failures_since = NULL"),
    (
        "one_time_code",
        "expires_at = now() - interval '2 hours', failures_since = now() - interval '23 hours'",
    ),
    ("session", "expires_at = now() - interval '59 minutes'"),
    ("address_count", "since = now() - interval '59 minutes'"),
    ("account", "created_at = now() - interval '6 days', verified_at = NULL"),
    ("account", "created_at = now() - interval '99 days'"),
    (
        "account",
        "created_at = now() - interval '8 days', verified_at = NULL, guest = true, email = NULL",
    ),
    ("code_delivery", "expires_at = now() - interval '23 hours'"),
    ("send_budget", "since = now() - interval '59 minutes'"),
]


@pytest.mark.parametrize(
    ("table", "state", "is_kept"),
    [(*row, False) for row in OVER] + [(*row, True) for row in NEEDED],
)
async def test_what_is_over_is_deleted_and_nothing_else(
    app: FastAPI, ada: Person, conn: Connection, table: str, state: str, is_kept: bool
) -> None:
    await ada.log_in()
    await ada.guess(wrong(await ada.ask_code()))
    await conn.execute(
        """
        INSERT INTO code_delivery (id, channel, status, due_at, expires_at)
        VALUES (gen_random_uuid(), 'email', 'sent', now(), now())
        """
    )
    await conn.execute("INSERT INTO send_budget (name, since, used) VALUES ('all', now(), 1)")
    before = await conn.fetchval(f"SELECT count(*) FROM {table}")
    await conn.execute(f"UPDATE {table} SET {state}")

    await housekeeping.delete_stale(app.state.resources)

    assert await conn.fetchval(f"SELECT count(*) FROM {table}") == (before if is_kept else 0)
