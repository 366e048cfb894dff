"""Signing keys come and go while tokens are issued and checked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta

import httpx2
import jwt
import pytest
from fastapi import FastAPI

from libs.common.db import Connection
from libs.common.identity import KEYS_REFRESH_S, REFRESH_INTERVAL_S, TokenVerifier
from services.auth import rules
from services.auth.actions import keys
from services.auth.api.sessions import JWKS_MAX_AGE_S
from services.auth.app import KEYS_INTERVAL_S, create_app
from services.auth.settings import Settings
from services.auth.tests.integration.command import run
from services.auth.tests.integration.person import SECRET, Person

pytestmark = pytest.mark.integration


@pytest.fixture
async def other_app(settings: Settings, conn: Connection) -> AsyncIterator[FastAPI]:
    """A second process's worth of auth, on the same database."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


def client_of(app: FastAPI) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://auth")


class RemoteVerifier(TokenVerifier):
    """Another service's, which asks one auth process for its keys without a network between."""

    def __init__(self, auth: httpx2.AsyncClient) -> None:
        super().__init__("http://auth/.well-known/jwks.json")
        self._client = auth


def kid_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


async def published(client: httpx2.AsyncClient) -> list[str]:
    return [key["kid"] for key in (await client.get("/.well-known/jwks.json")).json()["keys"]]


async def pass_by(conn: Connection, time: timedelta) -> None:
    """Let all that is stored about keys be older by so much."""
    await conn.execute(
        "UPDATE signing_key SET signs_from = signs_from - $1::interval,"
        " created_at = created_at - $1::interval",
        time,
    )


class Traffic:
    """Logins and refreshes at two processes; a verifier of a third checks what they issue."""

    def __init__(self, clients: list[httpx2.AsyncClient], verifier: TokenVerifier) -> None:
        self._people = [Person(client) for client in clients]
        self._verifier = verifier
        self._enough = False
        self.kids: list[str] = []
        self.running = asyncio.create_task(self._run())

    async def end(self) -> None:
        self._enough = True
        await self.running

    async def _run(self) -> None:
        logins = [await person.log_in() for person in self._people]
        while not self._enough:
            for number, person in enumerate(self._people):
                answer = await person.refresh(logins[number]["refresh_token"])
                assert answer.status_code == 200, answer.text
                logins[number] = answer.json()
                token = logins[number]["access_token"]
                await self._verifier.verify(token)
                for each in self._people:  # every process takes what another has signed
                    assert (await each.me(token)).status_code == 200
                self.kids.append(kid_of(token))

    async def meets(self, *kids: str) -> None:
        """Wait until the last four tokens were signed by these keys and no others."""
        seen = len(self.kids)
        async with asyncio.timeout(10):
            while len(self.kids) < seen + 4 or set(self.kids[-4:]) != set(kids):
                if self.running.done():
                    await self.running  # raises what was refused
                await asyncio.sleep(0.01)


async def test_a_rotation_under_load_refuses_no_token(
    app: FastAPI, other_app: FastAPI, conn: Connection
) -> None:
    """J4: a new key is known everywhere before it signs."""
    first, second = app.state.resources, other_app.state.resources
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client_of(each)) for each in (app, other_app)]
        verifier = RemoteVerifier(clients[1])
        traffic = Traffic(clients, verifier)
        (old,) = await published(clients[0])
        await traffic.meets(old)

        await keys.rotate(first.db, SECRET)  # at the first process
        await keys.maintain(first)
        await traffic.meets(old)
        assert await published(clients[1]) == [old]
        await keys.maintain(second)  # a minute later
        _, new = await published(clients[1])
        verifier._stale_at = 0.0  # five minutes later
        await traffic.meets(old)

        await pass_by(conn, rules.KEY_LEAD)
        await keys.maintain(first)  # the second has yet to look at the clock
        await traffic.meets(old, new)
        await keys.maintain(second)
        await traffic.meets(new)
        assert await published(clients[0]) == [old, new]

        await pass_by(conn, rules.KEY_AFTERLIFE)
        await keys.maintain(first)
        await keys.maintain(second)
        await traffic.meets(new)
        await traffic.end()
        remaining = [await published(client) for client in clients]

    assert remaining == [[new], [new]]


async def test_keys_rotate_by_themselves_when_they_are_old_enough_and_only_once(
    app: FastAPI, other_app: FastAPI, conn: Connection
) -> None:
    both = [app.state.resources, other_app.state.resources]

    async def count_after(time: timedelta) -> int:
        await pass_by(conn, time)
        await asyncio.gather(*(keys.maintain(res) for res in both))
        number: int = await conn.fetchval("SELECT count(*) FROM signing_key")
        return number

    assert await count_after(timedelta(days=89, hours=23)) == 1
    assert await count_after(timedelta(hours=2)) == 2
    assert await count_after(timedelta(0)) == 2
    audited = await conn.fetch("SELECT action, subject, actor FROM audit")
    assert [tuple(row) for row in audited] == [("signing_key_made", None, None)]


async def test_the_command_makes_a_key_that_waits_and_running_processes_publish_it(
    app: FastAPI, client: httpx2.AsyncClient, settings: Settings, ada: Person
) -> None:
    (old,) = await published(client)

    first = await asyncio.to_thread(run, settings, "rotate-keys")
    again = await asyncio.to_thread(run, settings, "rotate-keys")
    await keys.maintain(app.state.resources)

    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("the newest key signs from ")
    assert again.stdout == first.stdout  # while one waits no other is made
    assert (await published(client))[0] == old
    assert len(await published(client)) == 2
    assert kid_of((await ada.log_in())["access_token"]) == old


async def test_a_key_is_published_for_longer_than_anybody_may_be_without_it() -> None:
    """J4: our processes, verifiers and caches, one after the other."""
    known_after_s = KEYS_INTERVAL_S + JWKS_MAX_AGE_S + KEYS_REFRESH_S + REFRESH_INTERVAL_S
    longest_token_s = 3600

    assert rules.KEY_LEAD.total_seconds() > known_after_s
    assert rules.KEY_AFTERLIFE.total_seconds() > longest_token_s + known_after_s


async def test_made_up_key_ids_do_not_keep_auth_from_its_own_new_key(
    app: FastAPI, conn: Connection, ada: Person
) -> None:
    res = app.state.resources
    made_up = jwt.encode({}, "x" * 32, headers={"kid": "made up", "typ": "at+jwt"})
    assert (await ada.me(made_up)).status_code == 401

    await keys.rotate(res.db, SECRET)
    await pass_by(conn, rules.KEY_LEAD)
    await keys.maintain(res)
    login = await ada.log_in()

    assert (await ada.me(login["access_token"])).status_code == 200
