import asyncio

import httpx2
import jwt
import pytest

from libs.common.db import Connection, open_pool
from services.auth.resources import load_keyring
from services.auth.settings import Settings
from services.auth.tests.integration.person import SECRET, Person
from services.auth.tokens import SigningKeyLockedError

pytestmark = pytest.mark.integration


async def test_the_published_keys_verify_an_access_token(
    ada: Person, client: httpx2.AsyncClient
) -> None:
    login = await ada.log_in()

    answer = await client.get("/.well-known/jwks.json")

    assert answer.headers["Cache-Control"] == "public, max-age=300"
    key = jwt.PyJWKSet.from_dict(answer.json()).keys[0]
    claims = jwt.decode(login["access_token"], key, algorithms=["EdDSA"], audience="thoughtflow")
    assert claims["sub"] == login["user"]["id"]


async def test_processes_that_start_together_share_one_key(
    settings: Settings, conn: Connection
) -> None:
    async with await open_pool(settings.database_url, schema="auth") as pool:
        keyrings = await asyncio.gather(*(load_keyring(pool, SECRET) for _ in range(8)))

    kids = {key["kid"] for keyring in keyrings for key in keyring.jwks()["keys"]}
    assert len(kids) == 1
    assert await conn.fetchval("SELECT count(*) FROM signing_key") == 1


async def test_a_start_with_another_secret_is_refused_and_makes_no_key(
    settings: Settings, conn: Connection
) -> None:
    async with await open_pool(settings.database_url, schema="auth") as pool:
        await load_keyring(pool, SECRET)

        with pytest.raises(SigningKeyLockedError):
            await load_keyring(pool, "another secret of tests")

    assert await conn.fetchval("SELECT count(*) FROM signing_key") == 1


async def test_the_service_is_ready_once_it_runs(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/health/ready")

    assert answer.json() == {"status": "ok", "checks": {"postgres": True, "rabbitmq": True}}
