"""The table of all pages."""

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deploy.local.stripe.account import Account
from deploy.local.stripe.errors import StripeError
from deploy.local.stripe.pages import dashboard, pay, portal
from deploy.local.stripe.pages.html import Markup, page, render
from deploy.local.stripe.pages.visit import Visit

Page = Callable[[Account, Visit], Response]


def page_routes(account: Account) -> list[Route]:
    """Return the routes of all pages."""
    table: list[tuple[str, str, Page]] = [
        ("GET", "/", dashboard.show),
        ("POST", "/clock", dashboard.advance),
        ("POST", "/subscriptions/{id}/cancel", dashboard.cancel),
        ("POST", "/events/{id}/resend", dashboard.resend),
        ("GET", "/pay/{id}", pay.show),
        ("POST", "/pay/{id}", pay.submit),
        ("GET", "/invoices/{id}", portal.show_invoice),
        ("GET", "/portal/{id}", portal.show),
        ("POST", "/portal/{id}", portal.submit),
    ]
    return [
        Route(path, _endpoint(account, handler), methods=[method])
        for method, path, handler in table
    ]


def _endpoint(account: Account, handler: Page) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        text = (await request.body()).decode(errors="replace")
        form = dict(parse_qsl(text, keep_blank_values=True))
        try:
            with account.store.transaction():
                return handler(account, Visit(request.path_params.get("id", ""), form))
        except StripeError as error:
            body = render("message", heading="Sorry", text=error.message, link=Markup(""))
            return page("Sorry", body, status=error.status)

    return serve
