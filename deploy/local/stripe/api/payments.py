"""https://docs.stripe.com/api/charges, /refunds, /disputes and /invoice-payment."""

from deploy.local.stripe import lists, payments
from deploy.local.stripe.errors import JSON, InvalidRequestError, no_such
from deploy.local.stripe.protocol import Call

_REASONS = ("duplicate", "fraudulent", "requested_by_customer")


def retrieve_charge(call: Call) -> JSON:
    """Return a charge."""
    call.params.only()
    return call.account.get("charge", call.ids["id"])


def list_charges(call: Call) -> JSON:
    """List charges, failed ones included."""
    params = call.params.only("customer", "payment_intent", *lists.PAGE)
    equal = {key: params.text(key) for key in ("customer", "payment_intent")}
    return lists.page(call, "charge", "/v1/charges", equal=equal)


def list_invoice_payments(call: Call) -> JSON:
    """List what pays invoices."""
    params = call.params.only("invoice", "status", *lists.PAGE)
    equal = {key: params.text(key) for key in ("invoice", "status")}
    return lists.page(call, "invoice_payment", "/v1/invoice_payments", equal=equal)


def create_refund(call: Call) -> JSON:
    """Give back a charge, or the successful one of a payment intent, in whole or in part."""
    params = call.params.only("charge", "payment_intent", "amount", "reason", "metadata")
    return payments.refund(
        call.account,
        _charge(call),
        amount=params.integer("amount", low=1),
        reason=params.choice("reason", *_REASONS),
        metadata=params.metadata(),
    )


def retrieve_refund(call: Call) -> JSON:
    """Return a refund."""
    call.params.only()
    return call.account.get("refund", call.ids["id"])


def list_refunds(call: Call) -> JSON:
    """List refunds."""
    params = call.params.only("charge", "payment_intent", *lists.PAGE)
    equal = {key: params.text(key) for key in ("charge", "payment_intent")}
    return lists.page(call, "refund", "/v1/refunds", equal=equal)


def retrieve_dispute(call: Call) -> JSON:
    """Return a dispute."""
    call.params.only()
    return call.account.get("dispute", call.ids["id"])


def list_disputes(call: Call) -> JSON:
    """List disputes."""
    params = call.params.only("charge", "payment_intent", *lists.PAGE)
    equal = {key: params.text(key) for key in ("charge", "payment_intent")}
    return lists.page(call, "dispute", "/v1/disputes", equal=equal)


def _charge(call: Call) -> JSON:
    charge_id, intent = call.params.text("charge"), call.params.text("payment_intent")
    if (charge_id is None) == (intent is None):
        raise InvalidRequestError("Send one of charge and payment_intent.", param="charge")
    if charge_id is not None:
        return call.account.get("charge", charge_id, param="charge")
    found = call.account.store.scan(
        "charge", {"payment_intent": intent or "", "status": "succeeded"}
    )
    charge = next(found, None)
    if charge is None:
        raise no_such("payment_intent", intent or "", param="payment_intent")
    return charge
