"""Guests: how they begin, become users, and are forgotten."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx2
import jwt
import pytest
from fastapi import FastAPI

from libs.common.clock import utc_now
from libs.common.db import Connection
from libs.common.events import SessionRevoked, UserDeleted, UserRegistered
from services.auth import rules
from services.auth.actions import deletion
from services.auth.tests.integration.key_owner import make
from services.auth.tests.integration.person import Person, listening, wrong

pytestmark = pytest.mark.integration
Login = dict[str, Any]


async def begin(ada: Person, address: str = "192.0.2.1") -> httpx2.Response:
    return await ada.client.post("/auth/guest", headers={"X-Forwarded-For": address})


async def begun(ada: Person) -> Login:
    answer = await begin(ada)
    assert answer.status_code == 201, answer.text
    login: Login = answer.json()
    return login


async def upgrade(ada: Person, login: Login, otp: str, email: str = "") -> httpx2.Response:
    headers = {"Authorization": f"Bearer {login['access_token']}"}
    body = {"email": email or ada.email, "otp": otp}
    return await ada.client.post("/auth/upgrade", json=body, headers=headers)


def claims_of(login: Login) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(login["access_token"], options={"verify_signature": False})
    return claims


async def test_a_guest_is_logged_in_and_nobody_knows_who_it_is(
    ada: Person, conn: Connection
) -> None:
    login = await begun(ada)

    me = (await ada.me(login["access_token"])).json()
    again = (await ada.refresh(login["refresh_token"])).json()

    assert (me["guest"], me["phone"], me["email"], me["verified"]) == (True, None, None, False)
    assert [claims_of(each)["guest"] for each in (login, again)] == [True, True]
    assert claims_of(login)["role"] == "user"
    types = {row["type"] for row in await conn.fetch("SELECT type FROM outbox")}
    assert UserRegistered.TYPE not in types


async def test_a_network_makes_so_many_guests_an_hour_and_no_more(
    ada: Person, app: FastAPI, conn: Connection
) -> None:
    """G4: in parallel too, and whatever other networks do."""
    settings = app.state.resources.settings
    object.__setattr__(
        app.state.resources, "settings", settings.model_copy(update={"address_guests_per_hour": 3})
    )

    answers = await asyncio.gather(*(begin(ada, f"192.0.2.{n}") for n in range(1, 11)))
    other = await begin(ada, "198.51.100.1")

    assert sorted(each.status_code for each in answers) == [201] * 3 + [429] * 7
    assert {each.json()["code"] for each in answers if each.status_code == 429} == {
        "address_limit_reached"
    }
    assert other.status_code == 201
    assert await conn.fetchval("SELECT count(*) FROM account") == 4


async def test_a_guest_becomes_a_user_under_the_same_id(ada: Person, rabbitmq_url: str) -> None:
    guest = await begun(ada)
    otp = await ada.ask_code()

    async with listening(rabbitmq_url, UserRegistered) as bodies:
        answer = await upgrade(ada, guest, otp)
        async with asyncio.timeout(5):
            event = UserRegistered.model_validate_json(await bodies.get())

    user = answer.json()
    assert (answer.status_code, user["kept"]) == (200, True)
    assert user["user"]["id"] == guest["user"]["id"] == str(event.user_id)
    assert (user["user"]["email"], user["user"]["guest"], user["user"]["verified"]) == (
        *(ada.email, False),
        True,
    )
    assert event.email == ada.email
    assert "guest" not in claims_of(user)
    assert (await ada.log_in())["user"]["id"] == guest["user"]["id"]


async def test_the_guests_tokens_end_with_the_upgrade(ada: Person, rabbitmq_url: str) -> None:
    guest = await begun(ada)
    otp = await ada.ask_code()

    async with listening(rabbitmq_url, SessionRevoked) as bodies:
        user = (await upgrade(ada, guest, otp)).json()
        async with asyncio.timeout(5):
            event = SessionRevoked.model_validate_json(await bodies.get())

    assert str(event.session_id) == claims_of(guest)["sid"] != claims_of(user)["sid"]
    assert (await ada.refresh(guest["refresh_token"])).status_code == 401
    assert (await ada.refresh(user["refresh_token"])).status_code == 200


async def test_an_identifier_that_has_an_account_logs_in_there_and_mixes_nothing(
    ada: Person,
) -> None:
    known = await ada.log_in()
    guest = await begun(ada)

    answer = (await upgrade(ada, guest, await ada.ask_code())).json()

    assert (answer["kept"], answer["user"]["id"]) == (False, known["user"]["id"])
    me = (await ada.me(guest["access_token"])).json()
    assert (me["id"], me["guest"]) == (guest["user"]["id"], True)
    assert (await ada.refresh(guest["refresh_token"])).status_code == 200


async def test_a_sign_up_that_nobody_verified_gives_way_and_leaves_its_name(ada: Person) -> None:
    guest = await begun(ada)
    await ada.post("signup", name="Ada")

    answer = (await upgrade(ada, guest, await ada.ask_code())).json()

    assert (answer["kept"], answer["user"]["name"]) == (True, "Ada")


async def test_parallel_upgrades_open_one_session(ada: Person, conn: Connection) -> None:
    """R1: one code, one login."""
    guest = await begun(ada)
    otp = await ada.ask_code()

    answers = await asyncio.gather(*(upgrade(ada, guest, otp) for _ in range(5)))

    assert sorted(each.status_code for each in answers) == [200] + [401] * 4
    assert await conn.fetchval("SELECT count(*) FROM session WHERE revoked_at IS NULL") == 1


async def test_guests_with_codes_of_the_same_person_do_not_share_an_account(ada: Person) -> None:
    first, second = await begun(ada), await begun(ada)
    await upgrade(ada, first, await ada.ask_code())

    answer = (await upgrade(ada, second, await ada.ask_code())).json()

    assert (answer["kept"], answer["user"]["id"]) == (False, first["user"]["id"])


async def test_an_upgrade_wants_a_guest_and_a_right_code(ada: Person) -> None:
    bob = Person(ada.client, "bob@example.org")
    user, guest = await ada.log_in(), await begun(ada)
    otp = await bob.ask_code()

    answers = [
        await upgrade(bob, user, otp),
        await upgrade(bob, guest, wrong(otp)),
        await upgrade(ada, guest, otp),
        await upgrade(bob, {"access_token": "none"}, otp),
    ]

    assert [each.json()["code"] for each in answers] == [
        *("not_a_guest", "otp_invalid", "otp_invalid", "unauthenticated"),
    ]
    assert (await ada.me(guest["access_token"])).json()["guest"] is True


async def test_a_guest_makes_no_keys_and_changes_no_identifier(ada: Person) -> None:
    """Else a key's tokens would be those of a user."""
    guest = await begun(ada)
    headers = {"Authorization": f"Bearer {guest['access_token']}"}

    answers = [
        await make(ada, guest),
        await ada.client.post("/user/me/identifier", json={"email": ada.email}, headers=headers),
    ]

    assert {(each.status_code, each.json()["code"]) for each in answers} == {
        (403, "account_required")
    }


async def test_guests_who_do_not_come_back_are_erased_and_nobody_else(
    ada: Person, app: FastAPI, conn: Connection, rabbitmq_url: str
) -> None:
    idle, active, upgraded, fresh = [await begun(ada) for _ in range(4)]
    await upgrade(ada, upgraded, await ada.ask_code())
    long_ago = utc_now() - rules.GUEST_LIFE - timedelta(minutes=1)
    await conn.execute(
        "UPDATE account SET created_at = $1 WHERE id <> $2", long_ago, fresh["user"]["id"]
    )
    await conn.execute(
        "UPDATE session SET rotated_at = $1, created_at = $1 WHERE user_id <> $2",
        *(long_ago, fresh["user"]["id"]),
    )
    await ada.refresh(active["refresh_token"])

    async with listening(rabbitmq_url, UserDeleted) as bodies:
        erased = await deletion.erase_idle_guests(app.state.resources, limit=10)
        async with asyncio.timeout(5):
            event = UserDeleted.model_validate_json(await bodies.get())

    left = {str(row["id"]) for row in await conn.fetch("SELECT id FROM account")}
    assert (erased, str(event.user_id)) == (1, idle["user"]["id"])
    assert left == {each["user"]["id"] for each in (active, upgraded, fresh)}
    assert (await ada.refresh(idle["refresh_token"])).status_code == 401


async def test_a_guest_who_comes_back_meanwhile_is_not_erased(
    ada: Person, app: FastAPI, conn: Connection
) -> None:
    guest = await begun(ada)
    long_ago = utc_now() - rules.GUEST_LIFE - timedelta(minutes=1)
    await conn.execute("UPDATE account SET created_at = $1", long_ago)
    await conn.execute("UPDATE session SET rotated_at = $1", long_ago)
    back = conn.transaction()
    await back.start()
    await conn.execute("UPDATE session SET rotated_at = now(), generation = generation + 1")

    erasing = asyncio.create_task(deletion.erase_idle_guests(app.state.resources, limit=10))
    await asyncio.sleep(0.3)  # it has got as far as it can
    await back.commit()

    assert await erasing == 0
    assert (await ada.me(guest["access_token"])).status_code == 200


async def test_a_guest_deletes_itself(ada: Person, conn: Connection) -> None:
    guest = await begun(ada)

    answer = await ada.call("DELETE", "/user/me", guest)

    assert answer.status_code == 202
    assert await conn.fetchval("SELECT count(*) FROM account") == 0
