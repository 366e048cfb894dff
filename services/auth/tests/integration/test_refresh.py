import asyncio
import random
from contextlib import suppress
from datetime import datetime

import httpx2
import orjson
import pytest
from fastapi import FastAPI
from typing_extensions import override

from libs.common.clock import utc_now
from libs.common.db import Connection
from libs.common.events import SessionRevoked
from libs.common.identity import LEEWAY_S
from services.auth.tests.integration.person import Person, listening

pytestmark = pytest.mark.integration


async def test_a_refresh_returns_new_tokens_for_the_same_session(ada: Person) -> None:
    login = await ada.log_in()

    answer = await ada.refresh(login["refresh_token"])

    body = answer.json()
    assert answer.status_code == 200
    assert set(body) == set(login)
    assert body["user"] == login["user"]
    assert body["refresh_token"] != login["refresh_token"]
    assert (await ada.me(body["access_token"])).status_code == 200


async def test_parallel_refreshes_get_the_same_successor(ada: Person, conn: Connection) -> None:
    """R4: 20 at once."""
    login = await ada.log_in()

    answers = await asyncio.gather(*(ada.refresh(login["refresh_token"]) for _ in range(20)))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    assert await conn.fetchval("SELECT generation FROM session") == 2


async def test_a_lost_answer_can_be_asked_for_again_for_sixty_seconds(
    ada: Person, conn: Connection
) -> None:
    login = await ada.log_in()
    successor = (await ada.refresh(login["refresh_token"])).json()["refresh_token"]

    await conn.execute("UPDATE session SET rotated_at = now() - interval '55 s'")
    assert (await ada.refresh(login["refresh_token"])).json()["refresh_token"] == successor

    await conn.execute("UPDATE session SET rotated_at = now() - interval '61 s'")
    late = await ada.refresh(login["refresh_token"])
    assert (late.status_code, late.json()["code"]) == (401, "refresh_reused")


async def test_an_old_token_ends_its_session_and_no_other(
    ada: Person, conn: Connection, rabbitmq_url: str
) -> None:
    """R4: and it is announced and audited, once."""
    first, second = await ada.log_in(), await ada.log_in()
    newest = first["refresh_token"]
    for _ in range(2):
        newest = (await ada.refresh(newest)).json()["refresh_token"]

    async with listening(rabbitmq_url, SessionRevoked) as bodies:
        reused = await ada.refresh(first["refresh_token"])
        async with asyncio.timeout(5):
            event = orjson.loads(await bodies.get())
    ended = await ada.refresh(newest)

    assert (reused.status_code, reused.json()["code"]) == (401, "refresh_reused")
    assert (ended.status_code, ended.json()["code"]) == (401, "refresh_invalid")
    assert (await ada.refresh(second["refresh_token"])).status_code == 200
    session_id = await conn.fetchval("SELECT id::text FROM session WHERE revoked_at IS NOT NULL")
    assert (event["session_id"], event["reason"]) == (session_id, "refresh_reused")
    life_s = (datetime.fromisoformat(event["tokens_expire_at"]) - utc_now()).total_seconds()
    assert 900 + LEEWAY_S < life_s < 960
    audited = await conn.fetch(
        "SELECT action, subject, actor, detail FROM audit WHERE action <> 'login' ORDER BY seq"
    )
    assert [(row["action"], str(row["subject"]), row["actor"]) for row in audited] == [
        ("session_ended", first["user"]["id"], None),
        ("refresh_reused", first["user"]["id"], None),
    ]
    assert orjson.loads(audited[1]["detail"]) == {
        "session_id": session_id,
        "generations_behind": 2,
    }


class LosesAnswers(httpx2.ASGITransport):
    """The server does what it is asked; of its answers every third or so gets lost."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(app=app)
        self._random = random.Random(4)
        self.lost = 0

    @override
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        if self._random.random() < 0.3:
            self.lost += 1
            raise httpx2.ReadError("lost", request=request)
        return response


async def test_twenty_tabs_that_refresh_at_once_over_a_bad_line_stay_logged_in(
    ada: Person, app: FastAPI, conn: Connection
) -> None:
    """R4: 30 % of the answers are lost, in each of five rounds."""
    login = await ada.log_in()
    transport = LosesAnswers(app)
    held = [login["refresh_token"]] * 20
    async with httpx2.AsyncClient(transport=transport, base_url="http://auth") as client:
        lossy = Person(client)

        async def refresh_until_answered(token: str) -> str:
            while True:
                with suppress(httpx2.ReadError):
                    answer = await lossy.refresh(token)
                    assert answer.status_code == 200, answer.text
                    return str(answer.json()["refresh_token"])

        for _ in range(5):
            held = await asyncio.gather(*(refresh_until_answered(token) for token in held))
            assert len(set(held)) == 1

    assert transport.lost > 20
    row = await conn.fetchrow("SELECT generation, revoked_at FROM session")
    assert tuple(row or ()) == (6, None)
    assert (await ada.refresh(held[0])).status_code == 200


async def test_a_session_lives_thirty_days_however_often_it_is_refreshed(
    ada: Person, conn: Connection
) -> None:
    login = await ada.log_in()
    await ada.refresh(login["refresh_token"])

    life = await conn.fetchval("SELECT extract(epoch FROM expires_at - created_at) FROM session")
    assert life == 30 * 24 * 3600
    await conn.execute("UPDATE session SET expires_at = now()")
    assert (await ada.refresh(login["refresh_token"])).json()["code"] == "refresh_invalid"


@pytest.mark.parametrize("token", ["x", "A" * 72, "é"])
async def test_a_made_up_token_is_invalid(ada: Person, token: str) -> None:
    answer = await ada.refresh(token)

    assert (answer.status_code, answer.json()["code"]) == (401, "refresh_invalid")


async def test_a_forged_old_generation_ends_nothing(ada: Person) -> None:
    login = await ada.log_in()
    newest = (await ada.refresh(login["refresh_token"])).json()["refresh_token"]
    # Same session and generation as the login's token, with a MAC that is not ours.
    forged = login["refresh_token"][:32] + "A" * 37 + login["refresh_token"][69:]

    assert (await ada.refresh(forged)).json()["code"] == "refresh_invalid"
    assert (await ada.refresh(newest)).status_code == 200
