"""Billing over HTTP: read the request, call one action, shape the answer. No rule, no SQL."""

from services.billing.api import (
    checkouts,
    exports,
    grants,
    invoices,
    subscriptions,
    timeline,
    webhooks,
)

ROUTERS = [
    *(checkouts.router, subscriptions.router, webhooks.router, exports.router),
    *(timeline.router, timeline.others),
    *(invoices.router, grants.router),
]
