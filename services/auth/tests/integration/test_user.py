import asyncio
from uuid import UUID

import pytest
from fastapi import FastAPI

from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.events import Entitlements, Plan, SubscriptionChanged
from libs.common.topology import EVENTS
from services.auth.actions import accounts
from services.auth.tests.integration.person import Person

pytestmark = pytest.mark.integration


def changed(user_id: UUID, version: int, plan: Plan) -> SubscriptionChanged:
    return SubscriptionChanged(
        user_id=user_id,
        version=version,
        plan=plan,
        status="active",
        entitlements=Entitlements(messages_per_day=None),
    )


async def test_a_user_reads_themselves(ada: Person) -> None:
    login = await ada.log_in()

    answer = await ada.me(login["access_token"])

    assert answer.status_code == 200
    assert answer.json() == login["user"]
    assert answer.json()["plan"] == "basic"


async def test_nobody_is_read_without_a_token(ada: Person) -> None:
    answer = await ada.client.get("/user/me")

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_the_token_of_a_deleted_account_finds_nobody(ada: Person, conn: Connection) -> None:
    login = await ada.log_in()
    await conn.execute("DELETE FROM account")

    answer = await ada.me(login["access_token"])

    assert (answer.status_code, answer.json()["code"]) == (404, "user_not_found")


@pytest.mark.parametrize(
    ("versions", "plan"),
    [
        ([(1, "pro")], "pro"),
        ([(1, "pro"), (2, "basic")], "basic"),
        ([(2, "basic"), (1, "pro")], "basic"),
        ([(2, "pro"), (2, "basic")], "pro"),
    ],
)
async def test_the_newest_version_of_the_plan_wins_in_any_order(
    ada: Person, app: FastAPI, versions: list[tuple[int, Plan]], plan: Plan
) -> None:
    """E6: for what auth shows."""
    login = await ada.log_in()

    for version, then in versions:
        event = changed(UUID(login["user"]["id"]), version, then)
        await accounts.record_plan(app.state.resources, event)

    assert (await ada.me(login["access_token"])).json()["plan"] == plan


async def test_an_event_delivered_twice_is_recorded_once(app: FastAPI, conn: Connection) -> None:
    event = changed(new_id(), 1, "pro")
    await accounts.record_plan(app.state.resources, event)
    await conn.execute("DELETE FROM plan")

    await accounts.record_plan(app.state.resources, event)

    assert await conn.fetchval("SELECT count(*) FROM plan") == 0


async def test_a_plan_may_arrive_before_its_user(app: FastAPI, conn: Connection) -> None:
    user_id = new_id()

    await accounts.record_plan(app.state.resources, changed(user_id, 1, "pro"))

    await conn.execute(
        "INSERT INTO account (id, email, created_at) VALUES ($1, 'ada@example.org', now())", user_id
    )
    assert (await accounts.read_me(app.state.resources, user_id)).plan == "pro"


async def test_a_published_change_shows_within_two_seconds(ada: Person, app: FastAPI) -> None:
    login = await ada.log_in()
    event = changed(UUID(login["user"]["id"]), 1, "pro")

    await app.state.resources.brokers.publish.publish(
        event.model_dump_json().encode(),
        exchange=EVENTS,
        routing_key=event.TYPE,
        message_id=str(event.event_id),
        message_type=event.TYPE,
        content_type="application/json",
        persist=True,
    )

    async with asyncio.timeout(2):
        while (await ada.me(login["access_token"])).json()["plan"] != "pro":  # noqa: ASYNC110
            await asyncio.sleep(0.02)
