"""What `check` looks at for billing alone: Stripe, our prices there, and its clock."""

from libs.common.checks import Finding, Findings, clock, fetch, place, skew_of
from services.billing.settings import Settings

_STRIPE = "https://api.stripe.com"


async def check(settings: Settings) -> Findings:
    """Ask for each price that makes a user Pro."""
    base = settings.stripe_api_base or _STRIPE
    headers = {"Authorization": f"Bearer {settings.stripe_secret_key.get_secret_value()}"}
    skew_s = None
    for price in settings.pro_price_ids:
        answer = await fetch("stripe", f"{base}/v1/prices/{price}", headers)
        if isinstance(answer, Finding):
            yield answer
            return
        skew_s = skew_of(answer)
        yield _finding(answer.status_code, base, price)
    if skew_s is not None:
        yield clock("stripe clock", skew_s)
    if settings.stripe_webhook_secret is None:
        remedy = "Set STRIPE_WEBHOOK_SECRET: until then payments count an hour late"
        yield Finding("webhooks", "off", remedy)


def _finding(status: int, base: str, price: str) -> Finding:
    where = f"{price} at {place(base)}"
    match status:
        case 200:
            return Finding("stripe", where)
        case 401 | 403:
            text, remedy = f"{where}: {status}", "It refuses STRIPE_SECRET_KEY: replace it"
            return Finding("stripe", text, remedy)
        case 404:
            text, remedy = (
                f"{where}: unknown",
                "Name a price of this account in STRIPE_PRO_PRICE_ID",
            )
            return Finding("stripe", text, remedy)
        case _:
            return Finding("stripe", f"{where}: {status}", "Try again in a minute")
