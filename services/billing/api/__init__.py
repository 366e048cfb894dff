"""Billing over HTTP: read the request, call one action, shape the answer. No rule, no SQL."""

from services.billing.api import checkouts, exports, invoices, subscriptions, webhooks

ROUTERS = [
    *(checkouts.router, subscriptions.router, webhooks.router, exports.router),
    invoices.router,
]
