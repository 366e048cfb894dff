"""Templates that escape what is put into them."""

import html
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from string import Template

from starlette.responses import HTMLResponse

from deploy.local.stripe.errors import JSON

_FOLDER = Path(__file__).parent / "templates"
_HEADERS = {
    "Cache-Control": "no-store",
    # No `form-action`: browsers apply it to the redirect that follows a payment, too.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_SIGNS = {"usd": "$", "eur": "\N{EURO SIGN}", "gbp": "\N{POUND SIGN}"}


class Markup(str):
    """HTML that is safe as it is."""

    __slots__ = ()


def render(template: str, **values: object) -> Markup:
    """Return templates/`template`.html with each `$name` replaced by its value, escaped.

    Only a `Markup` is put in as it is.
    """
    text = Template((_FOLDER / f"{template}.html").read_text(encoding="utf-8"))
    return Markup(text.substitute({name: _escape(value) for name, value in values.items()}))


def join(parts: Iterable[Markup], *, empty: str = "") -> Markup:
    """Return the parts one after another, or the text `empty`, escaped, if there are none."""
    return Markup("\n".join(parts) or html.escape(empty))


def page(title: str, body: Markup, *, status: int = 200) -> HTMLResponse:
    """Return a whole page."""
    return HTMLResponse(render("layout", title=title, body=body), status, _HEADERS)


def money(amount: int, currency: str) -> str:
    """Return an amount of the smallest unit as people write it, such as `$12.00`."""
    sign = _SIGNS.get(currency, "")
    return f"{sign}{amount / 100:,.2f}" + ("" if sign else f" {currency.upper()}")


def price(body: JSON) -> str:
    """Return a recurring price as people write it, such as `$12.00 per month`."""
    recurring = body["recurring"]
    count = recurring["interval_count"]
    period = recurring["interval"] if count == 1 else f"{count} {recurring['interval']}s"
    return f"{money(body['unit_amount'], body['currency'])} per {period}"


def day(moment: int) -> str:
    """Return the UTC day, such as `23 Nov 2026`."""
    return datetime.fromtimestamp(moment, UTC).strftime("%d %b %Y")


def _escape(value: object) -> str:
    return value if isinstance(value, Markup) else html.escape(str(value))
