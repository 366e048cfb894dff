"""What the tests do to billing and to the Stripe emulator."""

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import httpx2
import stripe
from aio_pika.abc import AbstractQueue

from libs.common.clock import utc_now
from libs.common.events import SubscriptionChanged
from libs.common.testing import eventually
from services.billing.resources import Resources

T = TypeVar("T")
API = {"authorization": "Bearer sk_test_anything"}
SECRET = "whsec_0123456789abcdef"


def signed(payload: str, *, secret: str = SECRET, age_s: int = 0) -> str:
    """Return the `Stripe-Signature` of a payload signed `age_s` seconds ago."""
    stamp = int(time.time()) - age_s
    return str(stripe.WebhookSignature.generate_signature_header(payload, secret, stamp))


class Clock:
    """Billing's clock; `ahead` of the real one as the emulator's is."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.ahead


@dataclass
class Emulator:
    """The Stripe emulator's controls."""

    url: str
    client: httpx2.AsyncClient

    async def control(self, where: str, /, **body: Any) -> Any:
        response = await self.client.post(f"/_emulator{where}", json=body)
        assert response.status_code == 200, response.text
        return response.json()

    async def api(self, path: str, **params: str) -> Any:
        response = await self.client.get(f"/v1{path}", params=params, headers=API)
        assert response.status_code == 200, response.text
        return response.json()

    async def post(self, path: str, **form: str) -> Any:
        """Do what somebody does at Stripe itself, in its dashboard say."""
        response = await self.client.post(f"/v1{path}", data=form, headers=API)
        assert response.status_code == 200, response.text
        return response.json()

    async def delete(self, path: str) -> None:
        response = await self.client.delete(f"/v1{path}", headers=API)
        assert response.status_code == 200, response.text

    async def pay(self, session_id: str, outcome: str = "paid") -> str:
        """Return the id of the customer's subscription."""
        paid = await self.control(f"/pay/{session_id}", outcome=outcome)
        return str(paid["session"]["subscription"])

    async def charge_of(self, subscription_id: str) -> str:
        """Return the id of the charge that paid the subscription's newest invoice."""
        subscription = await self.api(f"/subscriptions/{subscription_id}")
        path = f"/invoices/{subscription['latest_invoice']}"
        invoice = await self.api(path, **{"expand[]": "payments"})
        intent = invoice["payments"]["data"][0]["payment"]["payment_intent"]
        charges = await self.api("/charges", payment_intent=intent)
        return str(next(each["id"] for each in charges["data"] if each["paid"]))

    async def refund(self, charge_id: str, **params: str) -> str:
        """Give back a charge as an operator would on Stripe's dashboard; return the refund's id."""
        response = await self.client.post(
            "/v1/refunds",
            data={"charge": charge_id, **params},
            headers={"authorization": "Bearer sk_test_anything"},
        )
        assert response.status_code == 200, response.text
        return str(response.json()["id"])

    async def count(self, kind: str) -> int:
        return len((await self.api(f"/{kind}", limit="100"))["data"])


@dataclass
class Billing:
    """The running service as its neighbours see it."""

    http: httpx2.AsyncClient
    res: Resources = field(repr=False)
    queue: AbstractQueue = field(repr=False)
    announced: list[SubscriptionChanged] = field(default_factory=list, repr=False)

    async def post(self, user_id: UUID, path: str, **body: Any) -> httpx2.Response:
        """Post as the user; without `body` the request has none."""
        return await self.http.post(
            path, headers={"authorization": f"Bearer {user_id}"}, json=body or None
        )

    async def invoices(self, user_id: UUID, **params: Any) -> Any:
        response = await self.http.get(
            "/subscription/invoices", params=params, headers={"authorization": f"Bearer {user_id}"}
        )
        assert response.status_code == 200, response.text
        return response.json()

    async def subscribe(self, user_id: UUID, **headers: str) -> httpx2.Response:
        return await self.http.post(
            "/subscribe/pro", headers={"authorization": f"Bearer {user_id}", **headers}
        )

    async def session(self, user_id: UUID) -> str:
        response = await self.subscribe(user_id)
        assert response.status_code in {200, 201}, response.text
        return str(response.json()["session_id"])

    async def status(self, user_id: UUID) -> Any:
        response = await self.http.get(
            "/subscription/status", headers={"authorization": f"Bearer {user_id}"}
        )
        assert response.status_code == 200, response.text
        return response.json()

    async def wait_for(self, user_id: UUID, *, within_s: float = 5, **wanted: Any) -> Any:
        """Return the status once it has the wanted members."""

        async def probe() -> Any:
            status = await self.status(user_id)
            return status if wanted.items() <= status.items() else None

        return await eventually(probe, within_s=within_s)

    async def changes(self, user_id: UUID) -> list[SubscriptionChanged]:
        """Return what was announced of the user so far, as chat receives it."""
        while (message := await self.queue.get(no_ack=True, fail=False)) is not None:
            self.announced.append(SubscriptionChanged.model_validate_json(message.body))
        return [change for change in self.announced if change.user_id == user_id]

    async def wait_for_changes(self, user_id: UUID, *, within_s: float = 5) -> Any:
        return await eventually(lambda: self.changes(user_id), within_s=within_s)

    async def webhook(self, payload: str, signature: str | None = None) -> httpx2.Response:
        """Send a webhook, properly signed unless a signature is given."""
        return await self.http.post(
            "/webhook/stripe",
            content=payload.encode(),
            headers={
                "content-type": "application/json",
                "stripe-signature": signed(payload) if signature is None else signature,
            },
        )
