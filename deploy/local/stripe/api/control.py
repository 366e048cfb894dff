"""The emulator's own controls under /_emulator, in JSON; real Stripe has none of them."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, get_args

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from deploy.local.stripe import checkout, clock, deliveries, payments, subscriptions
from deploy.local.stripe.account import Account
from deploy.local.stripe.api.subscriptions import STATUSES
from deploy.local.stripe.errors import JSON, InvalidRequestError, StripeError
from deploy.local.stripe.faults import ERRORS, Fault, Faults
from deploy.local.stripe.objects.wire import public

LONGEST_ADVANCE_S = 3 * 366 * 86_400


class Control:
    """The handlers; each takes a decoded body and the path's parameters, and returns JSON."""

    def __init__(self, account: Account, faults: Faults) -> None:
        self.account = account
        self.faults = faults

    def health(self, _body: JSON, _ids: JSON) -> JSON:
        """Say that the emulator answers."""
        return {"status": "ok"}

    def pay(self, body: JSON, ids: JSON) -> JSON:
        """Do at a pay page what a person would; `changed` is false if the session had ended."""
        outcome = _one_of(body, "outcome", get_args(checkout.Outcome), default="paid")
        session = self.account.get("checkout.session", ids["id"])
        changed = checkout.settle(
            self.account, session, outcome, email=_value(body, "email", str, default=None)
        )
        return {"outcome": outcome, "changed": changed, "session": public(session)}

    def webhooks(self, _body: JSON, _ids: JSON) -> JSON:
        """Return what is set, and the log of attempts, newest first."""
        return deliveries.overview(self.account.store)

    def set_webhooks(self, body: JSON, _ids: JSON) -> JSON:
        """Set how events from now on are delivered."""
        deliveries.disturb(
            self.account.store,
            deliveries.Disturbance(
                mode=_one_of(body, "mode", deliveries.MODES, default="normal"),
                duplicates=_number(body, "duplicates", 1, high=20, default=1),
                delay_s=_value(body, "delay_s", int, float, default=0),
                seed=_value(body, "seed", int, default=0),
            ),
        )
        return deliveries.overview(self.account.store)

    def release(self, body: JSON, _ids: JSON) -> JSON:
        """Let held deliveries go in the set order, or in `order`."""
        order = body.get("order")
        if order is not None:
            order = _one_of(body, "order", ("normal", "reverse", "shuffle"))
        released = deliveries.release(self.account.store, order=order)
        self.account.on_event()
        return {"released": released}

    def resend(self, _body: JSON, ids: JSON) -> JSON:
        """Deliver an event once more."""
        event = self.account.get("event", ids["id"])
        queued = deliveries.resend(self.account.store, event)
        self.account.on_event()
        return {"queued": queued}

    def list_faults(self, _body: JSON, _ids: JSON) -> JSON:
        """Return the faults that are still to happen, and how many requests hang now."""
        waiting = [vars(fault) for fault in self.faults.waiting]
        return {"faults": waiting, "hanging": self.faults.hanging}

    def add_fault(self, body: JSON, ids: JSON) -> JSON:
        """Let the next `times` calls fail."""
        fault = Fault(
            status=_one_of(body, "status", (*ERRORS, "hang")),
            times=_number(body, "times", 1, high=1_000_000, default=1),
            path=_value(body, "path", str, default=""),
            after=_value(body, "after", bool, default=False),
        )
        self.faults.waiting.append(fault)
        return self.list_faults(body, ids)

    def clear_faults(self, body: JSON, ids: JSON) -> JSON:
        """Forget all faults."""
        self.faults.waiting.clear()
        return self.list_faults(body, ids)

    def clock(self, _body: JSON, _ids: JSON) -> JSON:
        """Return the emulated time."""
        return {"now": self.account.now, "offset_s": self.account.offset_s}

    def advance(self, body: JSON, ids: JSON) -> JSON:
        """Move the clock, and do all that becomes due on the way."""
        self.account.advance(_number(body, "seconds", 0, high=LONGEST_ADVANCE_S))
        clock.catch_up(self.account)
        return self.clock(body, ids)

    def set_card(self, body: JSON, ids: JSON) -> JSON:
        """Give a customer a card that works or fails."""
        customer = self.account.get("customer", ids["id"])
        works = _value(body, "works", bool)
        subscriptions.set_card(self.account, customer["id"], works=works)
        return {"customer": customer["id"], "works": works}

    def set_status(self, body: JSON, ids: JSON) -> JSON:
        """Put a subscription into any status; `canceled` ends it as a cancellation does."""
        status = _one_of(body, "status", STATUSES)
        subscription = self.account.get("subscription", ids["id"])
        if status == "canceled" and subscription["status"] != "canceled":
            return public(
                subscriptions.end(self.account, subscription, reason="cancellation_requested")
            )
        subscription["status"] = status
        subscription["ended_at"] = self.account.now if status in subscriptions.ENDED else None
        self.account.announce(subscription, "customer.subscription.updated")
        return public(subscription)

    def dispute(self, body: JSON, ids: JSON) -> JSON:
        """Let the cardholder's bank dispute a charge."""
        return payments.dispute(
            self.account,
            self.account.get("charge", ids["id"]),
            status=_one_of(body, "status", payments.STATUSES, default="needs_response"),
            reason=_value(body, "reason", str, default="fraudulent"),
        )

    def move_dispute(self, body: JSON, ids: JSON) -> JSON:
        """Put a dispute into any status; `won`, `lost` and `warning_closed` close it."""
        status = _one_of(body, "status", payments.STATUSES)
        return payments.move_dispute(
            self.account, self.account.get("dispute", ids["id"]), status=status
        )

    def fail_refund(self, _body: JSON, ids: JSON) -> JSON:
        """Let a refund come back from the bank."""
        refund = self.account.get("refund", ids["id"])
        payments.fail_refund(self.account, refund)
        return refund


def endpoint(
    account: Account, handler: Callable[[JSON, JSON], JSON]
) -> Callable[[Request], Awaitable[Response]]:
    """Return the Starlette endpoint that serves one of the controls, all or nothing."""

    async def serve(request: Request) -> Response:
        raw = await request.body()
        try:
            body = json.loads(raw or b"{}")
            if not isinstance(body, dict):
                raise InvalidRequestError("Send a JSON object.")
            with account.store.transaction():
                return JSONResponse(handler(body, dict(request.path_params)))
        except ValueError:
            error: StripeError = InvalidRequestError("The body is not JSON.")
        except StripeError as refusal:
            error = refusal
        return JSONResponse(error.body("req_emulator"), error.status)

    return serve


def _one_of(body: JSON, key: str, choices: tuple[Any, ...], *, default: Any = None) -> Any:
    value = body.get(key, default)
    if value not in choices or isinstance(value, bool):
        listed = ", ".join(str(choice) for choice in choices)
        raise InvalidRequestError(f"{key} must be one of {listed}.", param=key)
    return value


def _value(body: JSON, key: str, *types: type, default: Any = ...) -> Any:
    if key not in body and default is not ...:
        return default
    value = body.get(key)
    # To Python a bool is an int, to JSON it is not.
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        names = " or ".join(kind.__name__ for kind in types)
        raise InvalidRequestError(f"{key} must be sent, as {names}.", param=key)
    return value


def _number(body: JSON, key: str, low: int, *, high: int, default: Any = ...) -> int:
    value: int = _value(body, key, int, default=default)
    if not low <= value <= high:
        raise InvalidRequestError(f"{key} must be between {low} and {high}.", param=key)
    return value
