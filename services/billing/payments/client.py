"""Stripe, the one implementation of `Payments`."""

from services.billing.payments.checkouts import Checkouts
from services.billing.payments.customers import Customers
from services.billing.payments.duplicates import Duplicates
from services.billing.payments.invoices import Invoices
from services.billing.payments.subscriptions import Subscriptions


class Stripe(Customers, Checkouts, Subscriptions, Invoices, Duplicates):
    """Stripe over HTTPS, or the emulator over HTTP; each base is about one noun."""
