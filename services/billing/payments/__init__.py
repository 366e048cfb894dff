"""The port to Stripe; nothing else imports its SDK."""

from services.billing.payments.client import Stripe
from services.billing.payments.port import Payments
from services.billing.payments.webhooks import read_event

__all__ = ["Payments", "Stripe", "read_event"]
