"""What nobody needs any more."""

from datetime import timedelta

from libs.common.clock import utc_now
from services.auth import rules
from services.auth.actions import deletion
from services.auth.resources import Resources
from services.auth.store import (
    accounts,
    addresses,
    api_keys,
    budgets,
    codes,
    deliveries,
    external_logins,
    factors,
    sessions,
)

KEEP_STALE = timedelta(hours=1)
KEEP_DELIVERIES = timedelta(days=1)
"""How long an operator can see what became of a message."""

KEEP_UNVERIFIED = timedelta(days=7)
"""How long a sign-up waits for its first code."""

BATCH = 1000
"""Rows of a kind deleted at a time, so that nobody waits long for their locks."""

GUEST_BATCH = 100
"""Guests erased at a time: each is an event that every service acts on."""


async def delete_stale(res: Resources) -> None:
    """Delete a batch each of codes, messages, counts, sessions, keys and sign-ups that are over.

    And erase a batch of guests who do not come back.
    """
    now = utc_now()
    before = now - KEEP_STALE
    async with res.db.acquire() as conn:
        failures_before = now - rules.FAILURE_WINDOW
        await codes.delete_stale_codes(
            conn, before=before, failures_before=failures_before, limit=BATCH
        )
        await addresses.delete_stale_addresses(conn, before=now - rules.ADDRESS_WINDOW, limit=BATCH)
        await deliveries.delete_stale_deliveries(conn, before=now - KEEP_DELIVERIES, limit=BATCH)
        await budgets.delete_stale_budgets(conn, before=now - rules.BUDGET_WINDOW, limit=BATCH)
        await factors.delete_stale_challenges(conn, before=before, limit=BATCH)
        await sessions.delete_stale_sessions(conn, before=before, limit=BATCH)
        await accounts.delete_unverified_accounts(conn, before=now - KEEP_UNVERIFIED, limit=BATCH)
        external_before = now - rules.EXTERNAL_TOKEN_AGE - KEEP_STALE
        await external_logins.delete_stale(conn, before=external_before, limit=BATCH)
        keys_before = now - rules.API_KEY_AFTERLIFE
        await api_keys.delete_stale_api_keys(conn, before=keys_before, limit=BATCH)
    await deletion.erase_idle_guests(res, limit=GUEST_BATCH)
