"""The table of all calls under /v1."""

from deploy.local.stripe.api import (
    catalog,
    checkout,
    coupons,
    customers,
    invoices,
    payments,
    portal,
    subscriptions,
    webhooks,
)
from deploy.local.stripe.errors import JSON, NotFoundError
from deploy.local.stripe.protocol import Call, Handler


def unknown(call: Call) -> JSON:
    """Refuse a URL that the emulator does not have."""
    raise NotFoundError(
        f"Unrecognized request URL: /v1/{call.ids['rest']}. The emulator has only what Thoughtflow "
        "uses of Stripe; see deploy/local/stripe/api/routes.py.",
        code="url_unrecognized",
    )


ROUTES: list[tuple[str, str, Handler]] = [
    ("POST", "/v1/customers", customers.create),
    ("GET", "/v1/customers", customers.list_all),
    ("GET", "/v1/customers/{id}", customers.retrieve),
    ("POST", "/v1/customers/{id}", customers.update),
    ("DELETE", "/v1/customers/{id}", customers.delete),
    ("POST", "/v1/products", catalog.create_product),
    ("GET", "/v1/products", catalog.list_products),
    ("GET", "/v1/products/{id}", catalog.retrieve_product),
    ("POST", "/v1/prices", catalog.create_price),
    ("GET", "/v1/prices", catalog.list_prices),
    ("GET", "/v1/prices/{id}", catalog.retrieve_price),
    ("POST", "/v1/coupons", coupons.create),
    ("GET", "/v1/coupons/{id}", coupons.retrieve),
    ("POST", "/v1/checkout/sessions", checkout.create),
    ("GET", "/v1/checkout/sessions", checkout.list_all),
    ("GET", "/v1/checkout/sessions/{id}", checkout.retrieve),
    ("GET", "/v1/checkout/sessions/{id}/line_items", checkout.list_line_items),
    ("POST", "/v1/checkout/sessions/{id}/expire", checkout.expire),
    ("POST", "/v1/subscriptions", subscriptions.create),
    ("GET", "/v1/subscriptions", subscriptions.list_all),
    ("GET", "/v1/subscriptions/{id}", subscriptions.retrieve),
    ("POST", "/v1/subscriptions/{id}", subscriptions.update),
    ("DELETE", "/v1/subscriptions/{id}", subscriptions.cancel),
    ("GET", "/v1/invoices", invoices.list_all),
    ("GET", "/v1/invoices/{id}", invoices.retrieve),
    ("GET", "/v1/invoice_payments", payments.list_invoice_payments),
    ("GET", "/v1/charges", payments.list_charges),
    ("GET", "/v1/charges/{id}", payments.retrieve_charge),
    ("POST", "/v1/refunds", payments.create_refund),
    ("GET", "/v1/refunds", payments.list_refunds),
    ("GET", "/v1/refunds/{id}", payments.retrieve_refund),
    ("GET", "/v1/disputes", payments.list_disputes),
    ("GET", "/v1/disputes/{id}", payments.retrieve_dispute),
    ("POST", "/v1/billing_portal/sessions", portal.create),
    ("GET", "/v1/events", webhooks.list_events),
    ("GET", "/v1/events/{id}", webhooks.retrieve_event),
    ("POST", "/v1/webhook_endpoints", webhooks.create_endpoint),
    ("GET", "/v1/webhook_endpoints", webhooks.list_endpoints),
    ("GET", "/v1/webhook_endpoints/{id}", webhooks.retrieve_endpoint),
    ("DELETE", "/v1/webhook_endpoints/{id}", webhooks.delete_endpoint),
    ("GET", "/v1/{rest:path}", unknown),
    ("POST", "/v1/{rest:path}", unknown),
    ("DELETE", "/v1/{rest:path}", unknown),
]
