"""Why somebody has the plan that they have, told to them and to support."""

import time
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from fastapi import FastAPI
from typing_extensions import override

from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.identity import Identity, TokenVerifier
from libs.common.testing import eventually
from services.billing.actions.support import STUCK_ATTEMPTS
from services.billing.applier import Applier
from services.billing.tests.integration.system import Billing, Clock, Emulator

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]


class TokensAreRoles(TokenVerifier):
    """`<role> <user id>`; signatures of tokens are tested in libs."""

    @override
    async def verify(self, token: str) -> Identity:
        role, _, user_id = token.rpartition(" ")
        return Identity(UUID(user_id), new_id(), role or "user", 2**40)


@pytest.fixture
def staffed(app: FastAPI, billing: Billing) -> Billing:
    """Billing, where some people have roles."""
    app.state.verifier = TokensAreRoles("http://unused")
    return billing


async def ask(
    billing: Billing, path: str, *, method: str = "GET", role: str = "support", **params: Any
) -> Any:
    headers = {"authorization": f"Bearer {role} {new_id()}"}
    return await billing.http.request(method, f"/admin{path}", params=params, headers=headers)


async def told_to(billing: Billing, user_id: UUID, **params: Any) -> Any:
    answer = await billing.http.get(
        "/subscription/timeline", params=params, headers={"authorization": f"Bearer {user_id}"}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


async def subscribed(billing: Billing, emulator: Emulator, user_id: UUID) -> str:
    subscription_id = await emulator.pay(await billing.session(user_id))
    await billing.wait_for(user_id, plan="pro")
    return subscription_id


async def test_each_change_is_told_with_its_event_and_what_was_before(
    billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID
) -> None:
    subscription_id = await subscribed(billing, emulator, user_id)

    async def all_are_heard() -> bool:
        applied = "SELECT count(*) FROM stripe_event WHERE applied_at IS NOT NULL"
        return bool(await conn.fetchval(applied) == await emulator.count("events"))

    await eventually(all_are_heard)
    await emulator.control(f"/subscriptions/{subscription_id}", status="unpaid")
    await billing.wait_for(user_id, plan="basic")

    entries = (await told_to(billing, user_id, limit=100))["data"]

    changed = [each for each in entries if each["effect"] == "changed"]
    plans = [(each["before"]["plan"], each["after"]["plan"]) for each in changed]
    assert plans == [("pro", "basic"), ("basic", "pro")]
    assert {each["cause"] for each in changed} == {"event"}
    assert "customer.subscription.updated" in {each["type"] for each in changed[0]["events"]}
    assert changed[0]["after"]["status"] == "unpaid"
    stored = {row["id"] for row in await conn.fetch("SELECT id FROM stripe_event")}
    assert {event["id"] for each in entries for event in each["events"]} <= stored


async def test_an_event_without_an_effect_is_told_as_one(
    billing: Billing, emulator: Emulator, user_id: UUID
) -> None:
    await subscribed(billing, emulator, user_id)
    (event, *_) = (await emulator.api("/events", type="customer.subscription.created"))["data"]
    payload = str({**event, "id": "evt_late"}).replace("'", '"')
    for python, json in (("None", "null"), ("True", "true"), ("False", "false")):
        payload = payload.replace(python, json)

    assert (await billing.webhook(payload)).status_code == 200

    async def its_entry() -> Any:
        page = await told_to(billing, user_id)
        return [each for each in page["data"] if "evt_late" in str(each["events"])]

    (entry,) = await eventually(its_entry)
    assert (entry["effect"], entry["before"]) == ("none", entry["after"])


async def test_a_timeline_is_read_in_pages_by_its_owner_alone(
    billing: Billing, emulator: Emulator, user_id: UUID
) -> None:
    subscription_id = await subscribed(billing, emulator, user_id)
    for status, plan in (("unpaid", "basic"), ("active", "pro")):
        await emulator.control(f"/subscriptions/{subscription_id}", status=status)
        await billing.wait_for(user_id, plan=plan)
    whole = (await told_to(billing, user_id, limit=100))["data"]

    first = await told_to(billing, user_id, limit=1)
    rest = await told_to(billing, user_id, limit=100, cursor=first["next_cursor"])

    assert (first["has_more"], rest["has_more"], rest["next_cursor"]) == (True, False, None)
    seen = [each["seq"] for each in first["data"] + rest["data"]]
    assert set(seen) >= {each["seq"] for each in whole}
    assert seen == sorted(seen, reverse=True)
    assert (await told_to(billing, new_id()))["data"] == []


async def test_what_the_timeline_says_cannot_be_changed(
    billing: Billing, emulator: Emulator, conn: Connection, user_id: UUID
) -> None:
    await subscribed(billing, emulator, user_id)

    with pytest.raises(asyncpg.RaiseError, match="only ever added to"):
        await conn.execute("UPDATE timeline SET effect = 'none'")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/user/{id}/billing"),
        ("POST", "/user/{id}/billing/sync"),
        ("GET", "/stripe-event"),
        ("POST", "/stripe-event/evt_1/retry"),
        ("GET", "/user/nonsense/billing"),
    ],
)
async def test_only_support_and_admins_see_the_billing_of_others(
    staffed: Billing, method: str, path: str
) -> None:
    """Z1: and everybody else is refused alike, whatever they ask for."""
    path = path.format(id=new_id())

    for role in ("user", "root", ""):
        answer = await ask(staffed, path, method=method, role=role)
        assert (answer.status_code, answer.json()["code"]) == (403, "role_missing")
    for role in ("support", "admin"):
        assert (await ask(staffed, path, method=method, role=role)).status_code != 403


async def test_support_sees_in_one_look_why_somebody_is_free(
    staffed: Billing, emulator: Emulator, clock: Clock, user_id: UUID
) -> None:
    customer = await subscribed(staffed, emulator, user_id)
    await emulator.control(f"/subscriptions/{customer}", status="past_due")
    await staffed.wait_for(user_id, status="past_due")
    during = (await ask(staffed, f"/user/{user_id}/billing")).json()
    clock.ahead = timedelta(days=4)
    after = (await ask(staffed, f"/user/{user_id}/billing/sync", method="POST")).json()

    assert (during["subscription"]["plan"], after["subscription"]["plan"]) == ("pro", "basic")
    assert "stays during the time of grace" in during["why"]
    assert "the time of grace is over" in after["why"]
    latest = after["timeline"]["data"][0]
    assert (latest["cause"], latest["effect"]) == ("support", "changed")
    assert after["stripe_customer_id"].startswith("cus_")
    nobody = (await ask(staffed, f"/user/{new_id()}/billing")).json()
    assert nobody["why"] == "nothing was ever bought"


async def test_support_has_stripe_asked_and_it_is_told_though_nothing_changed(
    staffed: Billing, emulator: Emulator, user_id: UUID
) -> None:
    await emulator.control("/webhooks", mode="drop")
    await emulator.pay(await staffed.session(user_id))
    path = f"/user/{user_id}/billing/sync"

    told = [(await ask(staffed, path, method="POST")).json() for _ in range(2)]

    assert [each["subscription"]["plan"] for each in told] == ["pro", "pro"]
    entries = told[1]["timeline"]["data"]
    assert [(each["cause"], each["effect"]) for each in entries] == [
        ("support", "none"),
        ("support", "changed"),
    ]


async def test_asking_stripe_about_who_it_does_not_know_or_while_it_is_away_is_a_typed_refusal(
    staffed: Billing, emulator: Emulator, user_id: UUID
) -> None:
    unknown = await ask(staffed, f"/user/{user_id}/billing/sync", method="POST")
    await emulator.control("/webhooks", mode="drop")  # else billing asks by itself, too
    await staffed.session(user_id)
    await emulator.control("/faults", status=500, times=2, path="/v1/subscriptions")

    started = time.monotonic()
    away = await ask(staffed, f"/user/{user_id}/billing/sync", method="POST")

    assert (unknown.status_code, unknown.json()["code"]) == (404, "no_stripe_customer")
    assert (away.status_code, away.json()["code"]) == (503, "billing_unavailable")
    assert time.monotonic() - started < 10


async def test_an_operators_new_setting_and_the_sweep_are_named_as_causes(
    billing: Billing, emulator: Emulator, clock: Clock, user_id: UUID
) -> None:
    await emulator.control("/webhooks", mode="drop")
    subscription_id = await emulator.pay(await billing.session(user_id))
    clock.ahead = timedelta(hours=2)
    await Applier(billing.res).sweep()
    await emulator.control(f"/subscriptions/{subscription_id}", status="canceled")
    clock.ahead = timedelta(hours=4)
    await Applier(billing.res).sweep()
    settings = billing.res.settings.model_copy(update={"basic_messages_per_day": 7})
    await Applier(replace(billing.res, settings=settings)).tidy()

    entries = (await told_to(billing, user_id))["data"]

    assert [each["cause"] for each in entries] == ["setting", "sweep", "sweep"]
    assert entries[0]["after"]["messages_per_day"] == 7


async def stuck(conn: Connection, user_id: UUID, number: int, *, attempts: int) -> str:
    event_id = f"evt_{number}"
    await conn.execute(
        "INSERT INTO stripe_event (id, type, customer_id, payload, received_at, attempts,"
        " next_try_at, error) VALUES ($1, 'invoice.paid', $2, '{}',"
        " now() - interval '1 day' + $3 * interval '1 s', $4, now() + interval '1 hour', 'X')",
        event_id,
        f"cus_{user_id}",
        number,
        attempts,
    )
    return event_id


async def test_events_that_failed_for_minutes_are_listed_and_can_be_tried_again(
    staffed: Billing, conn: Connection, user_id: UUID
) -> None:
    ids = [await stuck(conn, user_id, n, attempts=STUCK_ATTEMPTS + n) for n in range(3)]
    await stuck(conn, user_id, 9, attempts=STUCK_ATTEMPTS - 1)

    first = (await ask(staffed, "/stripe-event", state="stuck", limit=2)).json()
    rest = (await ask(staffed, "/stripe-event", cursor=first["next_cursor"])).json()
    retried = await ask(staffed, f"/stripe-event/{ids[1]}/retry", method="POST")

    listed = first["data"] + rest["data"]
    assert [each["id"] for each in listed] == ids
    assert (listed[0]["attempts"], listed[0]["error"]) == (STUCK_ATTEMPTS, "X")
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert (retried.status_code, retried.json()["id"]) == (202, ids[1])

    async def none_is_left() -> bool:
        return not (await ask(staffed, "/stripe-event")).json()["data"]

    await eventually(none_is_left)
    again = await ask(staffed, f"/stripe-event/{ids[1]}/retry", method="POST")
    assert (again.status_code, again.json()["code"]) == (404, "stripe_event_not_found")
