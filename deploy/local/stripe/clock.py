"""What happens by the passing of time, real or emulated."""

import asyncio

from deploy.local.stripe import checkout, subscriptions
from deploy.local.stripe.account import Account

TICK_S = 2.0


def catch_up(account: Account) -> None:
    """Do everything that is due by now, in its order and each thing at its own moment."""
    until = account.now
    while (due := account.store.next_due(until)) is not None:
        kind, object_id, moment = due
        with account.at(moment):
            body = account.get(kind, object_id)
            if kind == "checkout.session":
                checkout.expire(account, body)
            elif kind == "subscription":
                subscriptions.look_at(account, body)
            else:
                subscriptions.retry(account, body)


async def tick(account: Account) -> None:
    """Catch up for as long as the emulator runs, every `TICK_S`."""
    while True:
        with account.store.transaction():
            catch_up(account)
        await asyncio.sleep(TICK_S)
