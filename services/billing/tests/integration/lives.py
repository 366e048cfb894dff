"""Lives of subscribers, made up of random steps here and at Stripe."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

from hypothesis import strategies as st

from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.events import UserDeleted
from libs.common.testing import eventually
from services.billing.actions import deletion
from services.billing.applier import Applier
from services.billing.tests.integration.system import API, Billing, Clock, Emulator

ENDED = {"canceled", "incomplete_expired"}
DAY_S = 86_400
Step: TypeAlias = tuple[str, Any]


def steps() -> st.SearchStrategy[list[Step]]:
    """Return how to make up a life: most begin with a purchase."""
    buy = st.tuples(st.just("buy"), st.sampled_from(["paid", "paid", "paid", "incomplete"]))
    plain = st.sampled_from(
        [
            *("cancel_at_end", "resume", "cancel_now", "subscribe_again", "delete_customer"),
            *("open", "return", "outage", "fail_renewal", "fail_renewal"),
            *("wait", "wait", "wait", "wait"),
        ]
    )
    rest = st.one_of(
        buy,
        st.tuples(plain, st.none()),
        st.tuples(st.just("days"), st.sampled_from([1, 2, 4, 9, 25, 31])),
        st.tuples(st.just("card"), st.booleans()),
        st.tuples(st.just("status"), st.sampled_from(["paused", "unpaid", "past_due", "active"])),
        st.tuples(st.just("webhooks"), st.sampled_from(["normal", "hold", "drop", "duplicate"])),
        st.tuples(st.just("delay"), st.sampled_from([0.05, 0.3])),
        st.tuples(st.just("release"), st.sampled_from(["reverse", "shuffle"])),
    )
    start = st.tuples(st.just("webhooks"), st.sampled_from(["normal", "hold", "drop", "duplicate"]))
    return st.tuples(start, st.one_of(buy, rest), st.lists(rest, max_size=14)).map(
        lambda drawn: [drawn[0], drawn[1], *drawn[2]]
    )


@dataclass
class Life:
    """One user's; what a step cannot do where it comes, it leaves.

    Attributes:
        has_lost: whether webhooks may have been lost.
        customers: who the user has been at Stripe, those that were deleted there included.
    """

    billing: Billing
    emulator: Emulator
    clock: Clock
    conn: Connection
    user_id: UUID
    session: str | None = None
    has_lost: bool = False
    customers: set[str] = field(default_factory=set)

    @classmethod
    async def begin(
        cls, billing: Billing, emulator: Emulator, clock: Clock, conn: Connection
    ) -> "Life":
        await emulator.client.delete("/_emulator/faults")
        await emulator.control("/webhooks", mode="normal")
        return cls(billing, emulator, clock, conn, new_id())

    async def live(self, step: Step) -> None:
        name, argument = step
        await getattr(self, f"_{name}")(*([] if argument is None else [argument]))

    async def customer(self) -> str | None:
        """Return who the user is at Stripe, unless they were deleted there."""
        found = await self._known_customer()
        if found and (await self.emulator.api(f"/customers/{found}")).get("deleted"):
            return None
        return found

    async def subscriptions(self) -> list[Any]:
        """Return what Stripe says that the user has subscribed to, newest first."""
        await self._no_outage()  # it is not for those who act at Stripe itself
        await self._known_customer()
        found: list[Any] = []
        for customer in self.customers:
            listed = await self.emulator.api(
                "/subscriptions", customer=customer, status="all", limit="100"
            )
            found += listed["data"]
        return sorted(found, key=lambda each: each["created"], reverse=True)

    async def deliver(self) -> None:
        """Let Stripe be well again, and deliver what it holds, in any order."""
        await self._no_outage()
        await self.emulator.control("/webhooks", mode="normal")
        await self.emulator.control("/webhooks/release", order="shuffle")
        await self._days(0.01)  # what was postponed is due
        await eventually(self._all_applied, within_s=20)

    async def reconcile(self) -> None:
        """Lose all that a day more brings, and let the sweep look."""
        await self.emulator.control("/webhooks", mode="drop")
        await self._days(1.1)
        while await Applier(self.billing.res).sweep():
            pass

    async def end(self) -> None:
        """Delete the account, and see that nothing is charged any more."""
        customer = await self._known_customer()
        await deletion.forget_user(self.billing.res, UserDeleted(user_id=self.user_id))
        if customer is not None:
            left = await self.emulator.api("/subscriptions", customer=customer, status="all")
            assert {each["status"] for each in left["data"]} <= ENDED

    async def _known_customer(self) -> str | None:
        """Return who billing takes the user for at Stripe."""
        found: str | None = await self.conn.fetchval(
            "SELECT stripe_customer_id FROM customer WHERE user_id = $1", self.user_id
        )
        if found is not None:
            self.customers.add(found)
        return found

    async def _all_applied(self) -> bool:
        sent = (await self.emulator.client.get("/_emulator/webhooks")).json()["deliveries"]
        waiting = await self.conn.fetchval(
            "SELECT count(*) FROM stripe_event WHERE applied_at IS NULL"
        )
        return not waiting and not sent.get("pending") and not sent.get("held")

    async def _wait(self) -> None:
        """Let billing hear and do what it can, but for what Stripe has just failed to answer."""

        async def is_quiet() -> bool:
            sent = (await self.emulator.client.get("/_emulator/webhooks")).json()["deliveries"]
            fresh = await self.conn.fetchval(
                "SELECT count(*) FROM stripe_event WHERE applied_at IS NULL AND attempts = 0"
            )
            return not fresh and not sent.get("pending")

        await eventually(is_quiet, within_s=20)

    async def _open(self) -> None:
        answer = await self.billing.subscribe(self.user_id)
        assert answer.status_code in {200, 201, 409, 503}, answer.text
        if answer.status_code < 300:
            self.session = answer.json()["session_id"]

    async def _buy(self, outcome: str) -> None:
        await self._open()
        if self.session and await self.customer():
            await self.emulator.pay(self.session, outcome)

    async def _return(self) -> None:
        if self.session:
            path = f"/subscription/complete?session_id={self.session}"
            assert (await self.billing.http.get(path)).status_code == 200

    async def _days(self, days: float) -> None:
        moved = await self.emulator.control("/clock/advance", seconds=int(days * DAY_S))
        self.clock.ahead = timedelta(seconds=moved["offset_s"])

    async def _card(self, works: bool) -> None:
        if customer := await self.customer():
            await self.emulator.control(f"/customers/{customer}/card", works=works)

    async def _fail_renewal(self) -> None:
        await self._card(works=False)
        await self._days(31)

    async def _status(self, status: str) -> None:
        if live := await self._live_one():
            await self.emulator.control(f"/subscriptions/{live}", status=status)

    async def _cancel_at_end(self) -> None:
        if live := await self._live_one():
            await self.emulator.post(f"/subscriptions/{live}", cancel_at_period_end="true")

    async def _resume(self) -> None:
        if live := await self._live_one():
            await self.emulator.post(f"/subscriptions/{live}", cancel_at_period_end="false")

    async def _cancel_now(self) -> None:
        if live := await self._live_one():
            await self.emulator.delete(f"/subscriptions/{live}")

    async def _subscribe_again(self) -> None:
        await self._no_outage()
        if customer := await self.customer():
            form = {"customer": customer, "items[0][price]": "price_pro_monthly"}
            await self.emulator.post("/subscriptions", **form)

    async def _delete_customer(self) -> None:
        if customer := await self.customer():
            await self.emulator.client.delete(f"/v1/customers/{customer}", headers=API)

    async def _webhooks(self, mode: str) -> None:
        self.has_lost = self.has_lost or mode == "drop"
        await self.emulator.control("/webhooks", mode=mode, duplicates=2)

    async def _delay(self, delay_s: float) -> None:
        await self.emulator.control("/webhooks", mode="normal", delay_s=delay_s)

    async def _release(self, order: str) -> None:
        await self.emulator.control("/webhooks/release", order=order)

    async def _outage(self) -> None:
        await self.emulator.control("/faults", status=500, times=2, path="/v1/subscriptions")

    async def _no_outage(self) -> None:
        await self.emulator.client.delete("/_emulator/faults")

    async def _live_one(self) -> str | None:
        found = await self.subscriptions()
        return next((each["id"] for each in found if each["status"] not in ENDED), None)


def instant(unix_time: int) -> datetime:
    return datetime.fromtimestamp(unix_time, UTC)
