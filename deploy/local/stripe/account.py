"""One Stripe account: its objects, its clock, and the events that tell of its changes."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from deploy.local.stripe import deliveries
from deploy.local.stripe.errors import JSON, no_such
from deploy.local.stripe.objects import catalog, webhook
from deploy.local.stripe.objects.wire import new_id, public
from deploy.local.stripe.state import Store

# Stripe gives the first payment of a subscription 23 hours.
INCOMPLETE_S = 23 * 3600
_BACKGROUND: JSON = {"id": None, "idempotency_key": None}


class Account:
    """What the API and the pages work on.

    Args:
        store: where it lives; an empty one gets the catalog's seeds.
        base_url: of the emulator's own pages, with no slash at the end.
    """

    def __init__(self, store: Store, base_url: str) -> None:
        self.store = store
        self.base_url = base_url
        self._moment: int | None = None
        self._cause = _BACKGROUND
        self.on_event: Callable[[], None] = lambda: None
        if next(store.scan("product"), None) is None:
            for seed in catalog.seeds(self.now):
                self.save(seed)

    @property
    def now(self) -> int:
        """The emulated Unix time; events, periods and expiries follow it, signatures do not."""
        return int(time.time()) + self.offset_s if self._moment is None else self._moment

    @property
    def offset_s(self) -> int:
        """Seconds by which the emulated time is ahead of the real one."""
        return int(self.store.setting("clock_offset_s", "0"))

    @contextmanager
    def at(self, moment: int) -> Iterator[None]:
        """Let `now` stand still at `moment` within the block."""
        self._moment = moment
        try:
            yield
        finally:
            self._moment = None

    @contextmanager
    def caused_by(self, request_id: str, idempotency_key: str | None) -> Iterator[None]:
        """Name the request in all events of the block."""
        self._cause = {"id": request_id, "idempotency_key": idempotency_key}
        try:
            yield
        finally:
            self._cause = _BACKGROUND

    def advance(self, seconds: int) -> None:
        """Move the clock forward for good; what became due is `clock.catch_up`'s business."""
        self.store.set_setting("clock_offset_s", str(self.offset_s + seconds))

    def get(self, kind: str, object_id: str, *, param: str = "id") -> JSON:
        """Return the object.

        Raises:
            NotFoundError: there is none; `param` is what the refusal names.
        """
        found = self.store.get(kind, object_id)
        if found is None:
            raise no_such(kind.rpartition(".")[2].replace("_", " "), object_id, param=param)
        return found

    def save(self, body: JSON) -> None:
        """Store an object under its `object` and `id`, and tell the clock when to look at it."""
        self.store.put(body["object"], body, due=_due_at(body))

    def announce(self, body: JSON, event: str) -> None:
        """Store an object, emit an event with its snapshot, and queue the deliveries.

        An `...updated` event carries the former values of the keys that changed; one that would
        change nothing is not emitted.
        """
        data: JSON = {"object": public(body)}
        if event.endswith(".updated"):
            old = public(self.store.get(body["object"], body["id"]) or {})
            changed = {key: old.get(key) for key in old if old[key] != body.get(key)}
            if not changed:
                self.save(body)
                return
            data["previous_attributes"] = changed
        self.save(body)
        self.emit(event, data)

    def emit(self, event: str, data: JSON) -> None:
        """Store an event and queue its deliveries."""
        body = webhook.event(
            new_id("evt"), kind=event, data=data, created=self.now, request=self._cause
        )
        body["pending_webhooks"] = deliveries.enqueue(self.store, body)
        self.save(body)
        self.on_event()

    def card_works(self, customer_id: str) -> bool:
        """Tell whether charges to the customer succeed; they do unless a test said otherwise."""
        card = self.store.get("card", customer_id)
        return card is None or bool(card["works"])

    def set_card(self, customer_id: str, *, works: bool) -> None:
        """Decide whether charges to the customer succeed from now on."""
        self.store.put("card", {"id": customer_id, "works": works})


def _due_at(body: JSON) -> int | None:
    match body["object"], body.get("status"):
        case "checkout.session", "open":
            return int(body["expires_at"])
        case "subscription", "incomplete":
            return int(body["created"]) + INCOMPLETE_S
        case "subscription", "active" | "trialing" | "past_due" | "unpaid":
            ends = (body["items"]["data"][0]["current_period_end"], body["cancel_at"])
            return min(int(moment) for moment in ends if moment is not None)
        case "invoice", "open":
            retry_at: int | None = body["next_payment_attempt"]
            return retry_at
    return None
