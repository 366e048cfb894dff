"""The background sender of webhooks, signed as https://docs.stripe.com/webhooks describes."""

import asyncio
import hashlib
import hmac
import json
import sqlite3
import ssl
import time
from functools import partial

import httpx2

from deploy.local.stripe import deliveries
from deploy.local.stripe.account import Account
from deploy.local.stripe.errors import JSON
from deploy.local.stripe.objects.wire import public

TIMEOUT_S = 10.0
# A receiver that answers within this gets events in their order; a slower one holds nobody up.
HEAD_START_S = 0.5
MAX_IN_FLIGHT = 16
_LONGEST_SLEEP_S = 5.0


def signature(payload: str, secret: str, *, timestamp: int) -> str:
    """Return the `Stripe-Signature` header; `timestamp` is real Unix time."""
    signed = f"{timestamp}.{payload}".encode()
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


class Sender:
    """Sends what is queued until it is accepted, or its retries are used up.

    A delivery leaves the queue only after its answer, so one that a crash interrupts is sent
    again: at least once, as with Stripe.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._wake = asyncio.Event()
        self._in_flight: dict[int, asyncio.Task[None]] = {}
        account.on_event = self._wake.set

    async def run(self) -> None:
        """Send until cancelled."""
        store = self._account.store
        # Proxies of the environment must not see what goes to the next process; over HTTP, so
        # nobody's certificates are read.
        async with httpx2.AsyncClient(
            timeout=TIMEOUT_S, trust_env=False, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        ) as client:
            try:
                while True:
                    self._wake.clear()
                    deliveries.release_gathered(store)
                    if not await self._send_due(client):
                        await self._sleep()
            finally:
                for task in self._in_flight.values():
                    task.cancel()

    async def _send_due(self, client: httpx2.AsyncClient) -> bool:
        """Start what is due; return whether there was anything."""
        rows = [r for r in deliveries.due(self._account.store) if r["seq"] not in self._in_flight]
        for row in rows:
            while len(self._in_flight) >= MAX_IN_FLIGHT:
                await asyncio.wait(self._in_flight.values(), return_when=asyncio.FIRST_COMPLETED)
            task = asyncio.create_task(self._send(client, row))
            self._in_flight[row["seq"]] = task
            task.add_done_callback(partial(self._landed, row["seq"]))
            await asyncio.wait([task], timeout=HEAD_START_S)
        return bool(rows)

    async def _send(self, client: httpx2.AsyncClient, row: sqlite3.Row) -> None:
        store = self._account.store
        endpoint = store.get("webhook_endpoint", row["endpoint_id"])
        event = store.get("event", row["event_id"])
        if endpoint is None or event is None:
            deliveries.forget(store, row["endpoint_id"])
            return
        began = time.time()
        status, error = await _post(client, endpoint, event)
        with store.transaction():
            deliveries.record(store, row, status=status, error=error, began=began)

    def _landed(self, seq: int, _task: asyncio.Task[None]) -> None:
        del self._in_flight[seq]
        self._wake.set()

    async def _sleep(self) -> None:
        wait_s = deliveries.seconds_to_next(self._account.store)
        # What is in flight counts as due in the table, and wakes us when it lands.
        if wait_s is None or self._in_flight:
            wait_s = 0.1 if self._in_flight else _LONGEST_SLEEP_S
        try:
            await asyncio.wait_for(self._wake.wait(), min(wait_s, _LONGEST_SLEEP_S))
        except TimeoutError:
            return


async def _post(
    client: httpx2.AsyncClient, endpoint: JSON, event: JSON
) -> tuple[int | None, str | None]:
    """Return the status of the answer, or None and why there was none."""
    payload = json.dumps(public(event), indent=2)
    headers = {
        "content-type": "application/json; charset=utf-8",
        "stripe-signature": signature(payload, endpoint["secret"], timestamp=int(time.time())),
        "user-agent": "Stripe-Emulator/1.0",
    }
    try:
        response = await client.post(endpoint["url"], content=payload, headers=headers)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return None, type(error).__name__
    return response.status_code, None
