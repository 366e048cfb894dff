"""The page to which a checkout session's `url` leads."""

from starlette.responses import RedirectResponse, Response

from deploy.local.stripe import checkout
from deploy.local.stripe.account import Account
from deploy.local.stripe.errors import JSON
from deploy.local.stripe.pages.html import Markup, day, join, money, page, price, render
from deploy.local.stripe.pages.visit import Visit

_DECLINED = "Your card was declined. Nothing was charged; try again."


def show(account: Account, visit: Visit) -> Response:
    """Show what is to be paid, or how the session ended."""
    session = account.get("checkout.session", visit.id)
    return _ended(session) if session["status"] != "open" else _form(account, session, "")


def submit(account: Account, visit: Visit) -> Response:
    """Pay or decline; the second payment of a session goes the way of the first."""
    session = account.get("checkout.session", visit.id)
    if session["status"] == "expired":
        return _ended(session)
    if visit.form.get("outcome") != "paid":
        return _form(account, session, _DECLINED, status=402)
    email = visit.form.get("email", "")
    checkout.settle(account, session, "paid", email=email if "@" in email else None)
    return RedirectResponse(checkout.success_url(session), status_code=303)


def _form(account: Account, session: JSON, problem: str, *, status: int = 200) -> Response:
    lines = join(
        render(
            "pay_line",
            name=line["description"],
            price=price(line["price"]),
            quantity=line["quantity"],
            amount=money(line["amount_total"], line["currency"]),
        )
        for line in session["_lines"]
    )
    email = session["customer_email"]
    if session["customer"]:
        email = account.get("customer", session["customer"]).get("email")
    due = money(session["amount_total"], session["currency"])
    back = session["cancel_url"]
    body = render(
        "pay",
        id=session["id"],
        lines=lines,
        due=due,
        button=f"Pay {due}" if session["amount_total"] else "Start trial",
        trial=f"{session['_trial_days']} days free, then as above." * bool(session["_trial_days"]),
        email=email or "customer@example.com",
        readonly="readonly" if email else "",
        problem=render("problem", text=problem) if problem else "",
        cancel=render("link", url=back, text="Cancel and go back") if back else "",
        expires=day(session["expires_at"]),
    )
    return page("Pay", body, status=status)


def _ended(session: JSON) -> Response:
    if session["status"] == "complete":
        text = "This session has been paid. Nothing more will be charged."
        link = render("link", url=checkout.success_url(session), text="Continue")
    else:
        text = "This session has expired. Start again from the application."
        url = session["cancel_url"]
        link = render("link", url=url, text="Go back") if url else Markup("")
    return page("Pay", render("message", heading="Checkout", text=text, link=link))
