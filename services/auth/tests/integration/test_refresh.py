import asyncio

import pytest

from libs.common.db import Connection
from services.auth.tests.integration.person import Person

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


async def test_an_old_token_ends_its_session_and_no_other(ada: Person) -> None:
    first, second = await ada.log_in(), await ada.log_in()
    newest = first["refresh_token"]
    for _ in range(2):
        newest = (await ada.refresh(newest)).json()["refresh_token"]

    reused = await ada.refresh(first["refresh_token"])
    ended = await ada.refresh(newest)

    assert (reused.status_code, reused.json()["code"]) == (401, "refresh_reused")
    assert (ended.status_code, ended.json()["code"]) == (401, "refresh_invalid")
    assert (await ada.refresh(second["refresh_token"])).status_code == 200


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
