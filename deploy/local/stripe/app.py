"""The emulator as one Starlette application."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import Route

from deploy.local.stripe import clock, protocol
from deploy.local.stripe.account import Account
from deploy.local.stripe.api import control
from deploy.local.stripe.api.routes import ROUTES
from deploy.local.stripe.faults import Faults
from deploy.local.stripe.objects import webhook
from deploy.local.stripe.pages.routes import page_routes
from deploy.local.stripe.state import Store
from deploy.local.stripe.webhooks import Sender

CLI_ENDPOINT = "we_command_line"


def create_app(
    *,
    base_url: str,
    state: Path | None = None,
    webhook_url: str | None = None,
    webhook_secret: str | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Starlette:
    """Return the emulator, which sends webhooks and follows the clock while it runs.

    Args:
        base_url: where its pages will be reached, with no slash at the end.
        state: the database file; None keeps everything in memory.
        webhook_url: an endpoint for all events, replacing the one of an earlier start.
        webhook_secret: what its events are signed with.
        stopping: tells that the server wants to end.
    """
    account = Account(Store(state), base_url)
    account.store.delete("webhook_endpoint", CLI_ENDPOINT)
    if webhook_url and webhook_secret:
        account.save(
            webhook.endpoint(
                CLI_ENDPOINT,
                url=webhook_url,
                secret=webhook_secret,
                events=["*"],
                created=account.now,
            )
        )
    faults = Faults(stopping)
    sender = Sender(account)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(sender.run()), asyncio.create_task(clock.tick(account))]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            account.store.close()

    app = Starlette(
        lifespan=lifespan,
        routes=[
            *page_routes(account),
            *_control_routes(account, faults),
            *(
                Route(path, protocol.endpoint(account, faults, handler), methods=[method])
                for method, path, handler in ROUTES
            ),
        ],
    )
    # The redirect would send a caller to whatever its Host header says.
    app.router.redirect_slashes = False
    return app


def _control_routes(account: Account, faults: Faults) -> list[Route]:
    its = control.Control(account, faults)
    table = [
        ("GET", "/health", its.health),
        ("POST", "/pay/{id}", its.pay),
        ("GET", "/webhooks", its.webhooks),
        ("POST", "/webhooks", its.set_webhooks),
        ("POST", "/webhooks/release", its.release),
        ("POST", "/webhooks/{id}/resend", its.resend),
        ("GET", "/faults", its.list_faults),
        ("POST", "/faults", its.add_fault),
        ("DELETE", "/faults", its.clear_faults),
        ("GET", "/clock", its.clock),
        ("POST", "/clock/advance", its.advance),
        ("POST", "/customers/{id}/card", its.set_card),
        ("POST", "/subscriptions/{id}", its.set_status),
        ("POST", "/charges/{id}/dispute", its.dispute),
        ("POST", "/disputes/{id}", its.move_dispute),
        ("POST", "/refunds/{id}/fail", its.fail_refund),
    ]
    return [
        Route(f"/_emulator{path}", control.endpoint(account, handler), methods=[method])
        for method, path, handler in table
    ]
