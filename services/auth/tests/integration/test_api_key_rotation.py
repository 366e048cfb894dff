"""API keys that take the place of others."""

import asyncio
from datetime import datetime, timedelta

import orjson
import pytest

from libs.common.clock import utc_now
from libs.common.db import Connection
from libs.common.events import SessionRevoked
from services.auth.tests.integration.key_owner import PATH, listed, made, opens, send
from services.auth.tests.integration.person import Person, listening

pytestmark = pytest.mark.integration


async def test_a_rotated_key_is_accepted_until_its_overlap_is_over(
    ada: Person, conn: Connection
) -> None:
    login = await ada.log_in()
    old = await made(ada, login, scopes=["read"])

    answer = await send(ada, "POST", f"{PATH}/{old['id']}/rotate", login)
    new = answer.json()
    during = [await opens(ada, each["key"]) for each in (old, new)]
    again = await send(ada, "POST", f"{PATH}/{old['id']}/rotate", login)
    listing = await listed(ada, login)
    await conn.execute("UPDATE api_key SET expires_at = expires_at - interval '24 hours'")
    after = [await opens(ada, each["key"]) for each in (old, new)]

    assert (answer.status_code, new["name"], new["scopes"]) == (201, old["name"], old["scopes"])
    assert during == ["ok", "ok"]
    assert (again.status_code, again.json()["code"]) == (409, "api_key_ended")
    assert (listing[1]["id"], listing[1]["replaced_by"]) == (old["id"], new["id"])
    left = datetime.fromisoformat(listing[1]["expires_at"]) - utc_now()
    assert timedelta(hours=23) < left <= timedelta(hours=24)
    assert after == ["api_key_expired", "ok"]


async def test_a_rotation_without_overlap_ends_the_old_key_at_once(
    ada: Person, rabbitmq_url: str
) -> None:
    login = await ada.log_in()
    old = await made(ada, login)
    path = f"{PATH}/{old['id']}/rotate"

    async with listening(rabbitmq_url, SessionRevoked) as bodies:
        answer = await send(ada, "POST", path, login, {"overlap_hours": 0})
        async with asyncio.timeout(5):
            event = orjson.loads(await bodies.get())

    assert answer.status_code == 201
    keys = (old["key"], answer.json()["key"])
    assert [await opens(ada, key) for key in keys] == ["api_key_invalid", "ok"]
    assert event["session_id"] == old["id"]


async def test_parallel_rotations_make_one_key(ada: Person) -> None:
    login = await ada.log_in()
    old = await made(ada, login)
    path = f"{PATH}/{old['id']}/rotate"

    answers = await asyncio.gather(*(send(ada, "POST", path, login) for _ in range(10)))

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9
    assert len(await listed(ada, login)) == 2


async def test_a_rotation_moves_no_end_back(ada: Person) -> None:
    login = await ada.log_in()
    soon = utc_now() + timedelta(hours=1)
    old = await made(ada, login, expires_at=soon.isoformat())

    await send(ada, "POST", f"{PATH}/{old['id']}/rotate", login, {"overlap_hours": 168})

    ends = {datetime.fromisoformat(each["expires_at"]) for each in await listed(ada, login)}
    assert ends == {soon}
