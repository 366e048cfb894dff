"""The dashboard: what the account holds, and a few buttons."""

from collections.abc import Callable
from itertools import islice

from starlette.responses import RedirectResponse, Response

from deploy.local.stripe import clock, deliveries, subscriptions
from deploy.local.stripe.account import Account
from deploy.local.stripe.errors import JSON
from deploy.local.stripe.pages.html import Markup, day, join, money, page, price, render
from deploy.local.stripe.pages.visit import Visit
from deploy.local.stripe.periods import period_end

SHOWN = 25


def show(account: Account, _visit: Visit) -> Response:
    """Show the newest `SHOWN` of everything."""
    body = render(
        "dashboard",
        today=day(account.now),
        ahead=f"{account.offset_s // 86_400} days ahead" if account.offset_s else "real time",
        mode=deliveries.disturbance(account.store).mode,
        customers=_rows(account, "customer", _customer),
        subscriptions=_rows(account, "subscription", _subscription),
        sessions=_rows(account, "checkout.session", _session),
        events=_rows(account, "event", _event),
    )
    return page("Dashboard", body)


def advance(account: Account, _visit: Visit) -> Response:
    """Move the clock one calendar month ahead."""
    now = account.now
    account.advance(period_end(now, interval="month", count=1, anchor=now) - now)
    clock.catch_up(account)
    return _back()


def cancel(account: Account, visit: Visit) -> Response:
    """End a subscription now, if it has not ended."""
    body = account.get("subscription", visit.id)
    if body["status"] not in subscriptions.ENDED:
        subscriptions.end(account, body, reason="cancellation_requested")
    return _back()


def resend(account: Account, visit: Visit) -> Response:
    """Deliver an event once more."""
    deliveries.resend(account.store, account.get("event", visit.id))
    account.on_event()
    return _back()


def _back() -> Response:
    return RedirectResponse("/", status_code=303)


def _rows(account: Account, kind: str, row: Callable[[Account, JSON], Markup]) -> Markup:
    newest = islice(account.store.scan(kind), SHOWN)
    return join((row(account, body) for body in newest), empty="None yet.")


def _row(name: str, detail: str, state: str, action: Markup | str = "") -> Markup:
    return render("row", name=name, detail=detail, state=state, action=action)


def _customer(account: Account, body: JSON) -> Markup:
    if body.get("deleted"):
        return _row(body["id"], "", "deleted")
    state = "card works" if account.card_works(body["id"]) else "card fails"
    return _row(body["id"], body["email"] or "", state)


def _subscription(_account: Account, body: JSON) -> Markup:
    first = body["items"]["data"][0]["price"]
    end = subscriptions.period_of(body)[1]
    word = "ends" if body["cancel_at"] else "until"
    ended = body["status"] in subscriptions.ENDED
    button = render("button", url=f"/subscriptions/{body['id']}/cancel", text="Cancel now")
    return _row(
        body["id"],
        f"{body['customer']}: {price(first)}, {word} {day(body['cancel_at'] or end)}",
        body["status"],
        "" if ended else button,
    )


def _session(_account: Account, body: JSON) -> Markup:
    link = render("link", url=f"/pay/{body['id']}", text="Open")
    amount = money(body["amount_total"], body["currency"])
    return _row(body["id"], f"{amount}, {body['payment_status']}", body["status"], link)


def _event(account: Account, body: JSON) -> Markup:
    button = render("button", url=f"/events/{body['id']}/resend", text="Send again")
    state = deliveries.summary(account.store, body["id"])
    return _row(body["type"], f"{body['id']}, {day(body['created'])}", state, button)
