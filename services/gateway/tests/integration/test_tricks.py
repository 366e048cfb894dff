"""What two servers read differently gets past a gateway: paths, headers, framing."""

import asyncio
from contextlib import suppress

import httpx2
import pytest

from libs.common.clock import new_id
from services.gateway.tests.integration.conftest import FakeServices, eventually
from services.gateway.tests.integration.tricks import (
    IDENTITY_HEADERS,
    PATHS,
    hidden,
    smuggling,
)

pytestmark = pytest.mark.integration
ANSWER_S = 2.0
"""Seconds after which a server that still waits for more is taken to answer nothing."""


async def told(client: httpx2.AsyncClient, request: bytes, within_s: float = 15) -> bytes:
    """Send these bytes on a connection of their own; return what comes until its end."""
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    answer = b""
    try:
        writer.write(request)
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(within_s):
                while part := await reader.read(65536):
                    answer += part
    finally:
        writer.transport.abort()
    return answer


async def test_no_trick_in_a_path_reaches_anything(
    client: httpx2.AsyncClient, fakes: FakeServices
) -> None:
    """G1: 154 targets and more, with a token that would open what lies behind."""
    headers = f"Host: x\r\nConnection: close\r\nAuthorization: Bearer {fakes.token(new_id())}"
    assert len(set(PATHS)) >= 154

    for target in PATHS:
        answer = await told(client, f"GET {target} HTTP/1.1\r\n{headers}\r\n\r\n".encode())

        status = answer[9:12]
        assert status in {b"400", b"404"}, (target, answer)
        assert b"location" not in answer.lower(), target
        assert b'"status":"ok"' not in answer, target

    reached = {scope["path"] for scope in fakes.seen}
    assert reached <= {"/openapi.json", "/.well-known/jwks.json"}


async def test_no_header_but_the_token_tells_who_calls(
    client: httpx2.AsyncClient, fakes: FakeServices
) -> None:
    """G2: 36 of them, with no token, and with another user's."""
    other, user_id = str(new_id()), new_id()
    for name in IDENTITY_HEADERS:
        answer = await client.get("/user/me", headers={name: other})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), name
    assert "/user/me" not in {scope["path"] for scope in fakes.seen}

    token = fakes.token(user_id)
    every = dict.fromkeys(IDENTITY_HEADERS, other)
    answer = await client.get("/user/me", headers={**every, "Authorization": f"Bearer {token}"})

    seen = dict(fakes.last_asked("/user/me")["headers"])
    assert answer.status_code == 200
    assert seen[b"authorization"] == f"Bearer {token}".encode()
    assert b"x-user-id" not in seen


async def test_no_framing_hides_a_request_in_another(
    client: httpx2.AsyncClient, fakes: FakeServices
) -> None:
    """G5: 26 cases and one more; what is hidden in them does run where it is sent openly."""
    cases = smuggling("hidden@example.com")
    assert len(cases) >= 26

    answers = await asyncio.gather(*(told(client, case, ANSWER_S) for case in cases))

    for case, answer in zip(cases, answers, strict=True):
        assert answer[9:12] in {b"", b"400", b"411", b"415", b"501"}, (case, answer)
        assert answer.count(b"HTTP/1.1") <= 1, (case, answer)
    assert "/auth/signup" not in {scope["path"] for scope in fakes.seen}
    assert b"hidden@example.com" not in b"".join(fakes.bodies)
    await told(client, hidden("hidden@example.com"), ANSWER_S)

    async def ran() -> bool:
        return "/auth/signup" in {scope["path"] for scope in fakes.seen}

    await eventually(ran)
