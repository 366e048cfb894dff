"""The life of a checkout session: someone pays, or it expires."""

from typing import Literal

from deploy.local.stripe import subscriptions
from deploy.local.stripe.account import Account
from deploy.local.stripe.errors import JSON
from deploy.local.stripe.objects import checkout as objects
from deploy.local.stripe.objects import customer as customers
from deploy.local.stripe.objects.wire import new_id

Outcome = Literal["paid", "declined", "incomplete"]


def settle(account: Account, session: JSON, outcome: Outcome, *, email: str | None) -> bool:
    """Let the person at the pay page do something; return whether that changed anything.

    Only `paid` and `incomplete` end an open session. A session that is not open any more stays
    as it is, so paying twice makes one subscription.

    Args:
        account: whose session it is.
        session: as stored.
        outcome: `incomplete` stands for a payment that has yet to be confirmed: the session is
            complete but unpaid, the subscription `incomplete`.
        email: what the person typed, for a session that has neither customer nor e-mail.
    """
    if session["status"] != "open" or outcome == "declined":
        return False
    customer = _customer(account, session, email)
    if outcome == "paid":
        # Whoever pays here has just typed a card that works.
        account.set_card(customer["id"], works=True)
    subscription = subscriptions.start(
        account,
        customer=customer,
        lines=[(line["price"], line["quantity"]) for line in session["_lines"]],
        metadata=session["_subscription_metadata"],
        trial_days=session["_trial_days"],
        coupon_id=session["_coupon"],
        pay=outcome == "paid",
    )
    if outcome == "paid":
        free = not session["amount_total"]
        session["payment_status"] = "no_payment_required" if free else "paid"
    session |= {
        "status": "complete",
        "customer": customer["id"],
        "customer_details": objects.customer_details(customer["email"], customer["name"]),
        "invoice": subscription["latest_invoice"],
        "subscription": subscription["id"],
        "url": None,
    }
    account.announce(session, "checkout.session.completed")
    return True


def expire(account: Account, session: JSON) -> None:
    """End an open session without a payment."""
    session["status"] = "expired"
    session["url"] = None
    account.announce(session, "checkout.session.expired")


def success_url(session: JSON) -> str:
    """Return where the person goes after paying."""
    template: str = session["success_url"]
    return template.replace("{CHECKOUT_SESSION_ID}", session["id"])


def _customer(account: Account, session: JSON, email: str | None) -> JSON:
    if session["customer"]:
        return account.get("customer", session["customer"], param="customer")
    body = customers.customer(new_id("cus"), created=account.now)
    body["email"] = session["customer_email"] or email or "customer@example.com"
    account.announce(body, "customer.created")
    return body
