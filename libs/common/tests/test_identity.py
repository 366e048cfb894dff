import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx2
import jwt
import orjson
import pytest

from libs.common.clock import new_id
from libs.common.errors import UnauthenticatedError, UnavailableError
from libs.common.identity import RETRY_INTERVAL_S, TokenVerifier
from libs.common.testing import TokenIssuer, eventually


@dataclass
class Auth:
    """Publishes an issuer's keys, and counts who asks; broken, it answers 500."""

    issuer: TokenIssuer = field(default_factory=TokenIssuer)
    url: str = ""
    broken: bool = False
    asked: int = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        body = orjson.dumps(self.issuer.jwks())
        status = b"500 Broken" if self.broken else b"200 OK"
        writer.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))
        await writer.drain()
        writer.close()


@pytest.fixture
async def auth() -> AsyncIterator[Auth]:
    auth = Auth()
    server = await asyncio.start_server(auth.answer, "127.0.0.1", 0)
    auth.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks"
    async with server:
        yield auth


def made_up(number: int) -> str:
    stranger = TokenIssuer()
    stranger.kid = f"made-up-{number}"
    return stranger.token(new_id())


async def outcomes(verifier: TokenVerifier, tokens: list[str]) -> set[type | None]:
    results = await asyncio.gather(*map(verifier.verify, tokens), return_exceptions=True)
    return {type(result) if isinstance(result, Exception) else None for result in results}


async def test_a_flood_of_made_up_keys_asks_auth_once(auth: Auth) -> None:
    verifier = TokenVerifier(auth.url)

    flood = await outcomes(verifier, [made_up(number) for number in range(50)])
    again = await outcomes(verifier, [made_up(50)])
    good = await outcomes(verifier, [auth.issuer.token(new_id())])

    assert (flood, again, good) == ({UnauthenticatedError}, {UnauthenticatedError}, {None})
    assert auth.asked == 1


async def test_while_auth_is_away_nobody_is_told_that_his_token_is_bad(auth: Auth) -> None:
    auth.broken = True
    verifier = TokenVerifier(auth.url)
    token = auth.issuer.token(new_id())

    at_once = await outcomes(verifier, [token] * 20)
    later = await outcomes(verifier, [token])
    asked, auth.broken = auth.asked, False

    async def is_accepted() -> bool:
        return await outcomes(verifier, [token]) == {None}

    assert (at_once, later, asked) == ({UnavailableError}, {UnavailableError}, 1)
    await eventually(is_accepted, within_s=RETRY_INTERVAL_S * 5)


async def test_all_looks_share_one_client(auth: Auth, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[httpx2.AsyncClient] = []
    make = httpx2.AsyncClient.__init__

    def counted(self: httpx2.AsyncClient, **options: object) -> None:
        made.append(self)
        make(self, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(httpx2.AsyncClient, "__init__", counted)
    monkeypatch.setattr("libs.common.identity.REFRESH_INTERVAL_S", 0.0)
    verifier = TokenVerifier(auth.url)

    for number in range(3):
        await outcomes(verifier, [made_up(number)])

    assert (len(made), auth.asked) == (1, 3)


@pytest.mark.parametrize("claims", [{"aud": "others"}, {"iss": None}, {"sub": "me"}])
async def test_a_signed_token_with_the_wrong_claims_is_refused(
    auth: Auth, claims: dict[str, str | None]
) -> None:
    token = auth.issuer.token(new_id(), **claims)

    assert jwt.get_unverified_header(token)["kid"] == auth.issuer.kid
    assert await outcomes(TokenVerifier(auth.url), [token]) == {UnauthenticatedError}
