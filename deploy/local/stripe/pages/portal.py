"""The customer portal: see, cancel and resume subscriptions, change the card."""

from starlette.responses import RedirectResponse, Response

from deploy.local.stripe import subscriptions
from deploy.local.stripe.account import Account
from deploy.local.stripe.errors import JSON, no_such
from deploy.local.stripe.pages.html import Markup, day, join, money, page, price, render
from deploy.local.stripe.pages.visit import Visit

SESSION_LIFE_S = 3600


def show(account: Account, visit: Visit) -> Response:
    """Show the customer's subscriptions, card and invoices."""
    session = _session(account, visit.id)
    customer_id = session["customer"]
    mine = {"customer": customer_id}
    works = account.card_works(customer_id)
    url = session["return_url"]
    body = render(
        "portal",
        id=session["id"],
        email=account.get("customer", customer_id).get("email") or customer_id,
        subscriptions=join(
            (
                _subscription(session["id"], body)
                for body in account.store.scan("subscription", mine)
            ),
            empty="There are no subscriptions.",
        ),
        card="A test card that works" if works else "A test card that is declined",
        works="false" if works else "true",
        change="Use a card that is declined" if works else "Use a card that works",
        invoices=join(
            (_invoice(body) for body in account.store.scan("invoice", mine)),
            empty="There are no invoices.",
        ),
        back=render("link", url=url, text="Return to the application") if url else "",
    )
    return page("Billing", body)


def submit(account: Account, visit: Visit) -> Response:
    """Cancel at the period's end, resume, or change the card; then show the page again."""
    session = _session(account, visit.id)
    action = visit.form.get("action")
    if action == "card":
        subscriptions.set_card(
            account, session["customer"], works=visit.form.get("works") == "true"
        )
    else:
        _change_end(account, session, visit.form.get("subscription", ""), resume=action == "resume")
    return RedirectResponse(f"/portal/{session['id']}", status_code=303)


def show_invoice(account: Account, visit: Visit) -> Response:
    """Show an invoice, to whoever knows its id."""
    invoice = account.get("invoice", visit.id)
    text = f"{money(invoice['total'], invoice['currency'])}, {invoice['status']}"
    heading = f"Invoice {invoice['number']} of {day(invoice['created'])}"
    return page("Invoice", render("message", heading=heading, text=text, link=""))


def _change_end(account: Account, session: JSON, subscription_id: str, *, resume: bool) -> None:
    body = account.get("subscription", subscription_id)
    if body["customer"] != session["customer"]:
        raise no_such("subscription", subscription_id)
    if body["status"] in subscriptions.ENDED:
        return
    end = None if resume else subscriptions.period_of(body)[1]
    if end != body["cancel_at"]:
        subscriptions.plan_end(account, body, at=end)
        account.announce(body, "customer.subscription.updated")


def _session(account: Account, session_id: str) -> JSON:
    session = account.get("billing_portal.session", session_id)
    if session["created"] + SESSION_LIFE_S < account.now:
        raise no_such("portal session", session["id"])
    return session


def _subscription(session_id: str, body: JSON) -> Markup:
    end = subscriptions.period_of(body)[1]
    ending = body["cancel_at"] is not None
    ended = body["status"] in subscriptions.ENDED
    if ended:
        when = f"Ended on {day(body['ended_at'])}"
    else:
        when = f"Ends on {day(body['cancel_at'])}" if ending else f"Renews on {day(end)}"
    form = render(
        "portal_action",
        id=session_id,
        subscription=body["id"],
        action="resume" if ending else "cancel",
        text="Keep the subscription" if ending else "Cancel at the end of the period",
    )
    return render(
        "portal_subscription",
        price=price(body["items"]["data"][0]["price"]),
        status=body["status"],
        when=when,
        form="" if ended else form,
    )


def _invoice(body: JSON) -> Markup:
    return render(
        "portal_invoice",
        day=day(body["created"]),
        number=body["number"],
        amount=money(body["total"], body["currency"]),
        status=body["status"],
    )
