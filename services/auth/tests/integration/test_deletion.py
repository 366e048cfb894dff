"""An account's end, as auth sees it."""

import asyncio
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from libs.common.db import Connection
from libs.common.events import UserDeleted
from services.auth.actions import accounts
from services.auth.tests.integration.person import Person, listening
from services.auth.tests.integration.test_user import changed

pytestmark = pytest.mark.integration


async def delete(person: Person, login: dict[str, Any], **headers: str) -> httpx2.Response:
    authorization = {"Authorization": f"Bearer {login['access_token']}"}
    return await person.client.delete("/user/me", headers=authorization | headers)


async def test_a_deletion_ends_every_session_and_is_announced_once(
    ada: Person, rabbitmq_url: str
) -> None:
    phone, laptop = await ada.log_in(), await ada.log_in()

    async with listening(rabbitmq_url, UserDeleted) as bodies:
        answers = await asyncio.gather(*(delete(ada, phone) for _ in range(5)))
        async with asyncio.timeout(5):
            event = UserDeleted.model_validate_json(await bodies.get())

    assert sorted(answer.status_code for answer in answers) == [202] + [404] * 4
    assert str(event.user_id) == phone["user"]["id"]
    assert bodies.empty()
    for login in (phone, laptop):
        assert (await ada.refresh(login["refresh_token"])).status_code == 401
        assert (await ada.me(login["access_token"])).status_code == 404


async def test_nothing_that_tells_who_it_was_is_left(ada: Person, conn: Connection) -> None:
    """P3: in auth; what stays are hashes, and among them no word of the person."""
    login = await ada.log_in()
    user_id = UUID(login["user"]["id"])
    await conn.execute(
        "INSERT INTO outbox (event_id, type, payload) VALUES (gen_random_uuid(), 'x', $1)",
        f'{{"user_id": "{user_id}", "email": "{ada.email}"}}',
    )

    await delete(ada, login)

    left = [await conn.fetch(f"SELECT * FROM {name}") for name in ("account", "session")]
    assert left == [[], []]
    payloads = [row["payload"] for row in await conn.fetch("SELECT payload FROM outbox")]
    assert not any(ada.email in payload for payload in payloads)
    assert await conn.fetchval("SELECT is_deleted_user($1)", user_id)


async def test_who_comes_back_is_somebody_else(ada: Person) -> None:
    first = await ada.log_in()
    await delete(ada, first)

    second = await ada.log_in()

    assert second["user"]["id"] != first["user"]["id"]
    assert (await ada.me(first["access_token"])).status_code == 404


async def test_a_deletion_gives_no_codes_back(ada: Person) -> None:
    """A9: else signing up and leaving again would send as many as one likes."""
    for _ in range(5):
        await delete(ada, await ada.log_in())
    await ada.post("signup")
    for _ in range(5):
        await ada.ask_code()

    refused = await ada.post("send-otp")

    assert (refused.status_code, refused.json()["code"]) == (429, "otp_cooldown")


async def test_a_code_sent_before_the_deletion_opens_nothing_after_it(ada: Person) -> None:
    login = await ada.log_in()
    code = await ada.ask_code()
    await delete(ada, login)
    await ada.post("signup")

    answer = await ada.guess(code)

    assert (answer.status_code, answer.json()["code"]) == (401, "otp_invalid")


@pytest.mark.parametrize("order", ["before", "meanwhile", "after"])
async def test_a_plan_never_outlives_its_user(
    ada: Person, app: FastAPI, conn: Connection, order: str
) -> None:
    login = await ada.log_in()
    event = changed(UUID(login["user"]["id"]), 1, "pro")
    res = app.state.resources

    if order == "before":
        await accounts.record_plan(res, event)
    if order == "meanwhile":
        await asyncio.gather(delete(ada, login), accounts.record_plan(res, event))
    else:
        await delete(ada, login)
        await accounts.record_plan(res, event)

    assert await conn.fetchval("SELECT count(*) FROM plan WHERE user_id = $1", event.user_id) == 0


async def test_an_account_that_changed_meanwhile_is_not_deleted_by_its_old_version(
    ada: Person,
) -> None:
    login = await ada.log_in()

    refused = await delete(ada, login, **{"If-Match": '"7"'})

    assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed")
    assert (await ada.me(login["access_token"])).status_code == 200


async def test_logging_in_and_leaving_at_once_never_wait_in_a_circle(
    ada: Person, conn: Connection
) -> None:
    login = await ada.log_in()
    code = await ada.ask_code()
    holding = conn.transaction()
    await holding.start()
    await conn.execute("SELECT FROM account FOR UPDATE")

    both = [asyncio.create_task(delete(ada, login)), asyncio.create_task(ada.guess(code))]
    await asyncio.sleep(0.3)  # each has got as far as it can
    await holding.commit()
    deleted, guessed = await asyncio.gather(*both)

    assert deleted.status_code == 202, deleted.text
    assert guessed.status_code in {200, 401}, guessed.text
