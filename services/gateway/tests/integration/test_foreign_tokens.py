"""Tokens of another issuer at the edge: auth is asked about what claims to be one, and no other."""

import asyncio
import base64
from typing import Any

import jwt
import pytest

from libs.common.clock import new_id
from services.gateway.tests.integration.conftest import FakeServices, Start
from services.gateway.tests.integration.socket_client import socket_to
from services.gateway.tests.integration.test_credentials import bearer, forwarded, questions

pytestmark = pytest.mark.integration
ISSUER = "https://login.example.com/"
HEAD = base64.urlsafe_b64encode(b'{"alg":"EdDSA","typ":"at+jwt","kid":"k1"}').decode()
DEEP = base64.urlsafe_b64encode(b"[" * 1_500).decode()
SECRET = "what the gateway never looks at, as auth does"


def foreign(issuer: str = ISSUER, **claims: Any) -> str:
    return jwt.encode({"iss": issuer, "sub": "ada", **claims}, SECRET, "HS256")


async def test_the_other_issuers_token_is_traded_and_ours_is_not(
    start_gateway: Start, fakes: FakeServices
) -> None:
    ours, theirs = fakes.token(new_id()), foreign()
    exchanged = fakes.token(new_id())
    fakes.exchange(exchanged)
    async with start_gateway(external_issuer=ISSUER) as client:
        answers = [await client.get("/chatroom", headers=bearer(ours))]
        asked = questions(fakes)
        sent = [forwarded(fakes, "/chatroom")]
        for path in ("/chatroom", "/user/me"):
            answers.append(await client.get(path, headers=bearer(theirs)))
            sent.append(forwarded(fakes, path))
        async with socket_to(client, theirs) as socket:
            followed = await socket.ask(op="subscribe")

    assert {answer.status_code for answer in answers} == {200}
    assert asked == 0
    assert sent == [[f"Bearer {ours}"], [f"Bearer {exchanged}"], [f"Bearer {exchanged}"]]
    assert followed["op"] == "ok"
    assert questions(fakes) == 1


async def test_nobody_else_is_asked_about(start_gateway: Start, fakes: FakeServices) -> None:
    fakes.exchange(fakes.token(new_id()))
    tokens = [
        *(foreign(issuer) for issuer in ("https://login.example.com", "thoughtflow", "")),
        *(foreign()[:-1] + "!", foreign().split(".")[1], foreign(padding="x" * 8192)),
        *("..", "a.b.c", f"{HEAD}.{DEEP}.AAAA", f"{DEEP}.{DEEP}.AAAA"),
    ]
    async with start_gateway(external_issuer=ISSUER) as client:
        answers = [await client.get("/chatroom", headers=bearer(token)) for token in tokens]
    async with start_gateway() as client:
        answers.append(await client.get("/chatroom", headers=bearer(foreign())))

    assert {(each.status_code, each.json()["code"]) for each in answers} == {
        (401, "unauthenticated")
    }
    assert questions(fakes) == 0


async def test_what_auth_says_of_a_foreign_token_is_passed_on(
    start_gateway: Start, fakes: FakeServices
) -> None:
    problem = {"status": 401, "code": "token_expired", "title": "Old", "detail": "get another"}
    fakes.planned["POST /exchange"] = (401, problem)
    async with start_gateway(external_issuer=ISSUER) as client:
        answers = await asyncio.gather(
            *(client.get("/chatroom", headers=bearer(foreign())) for _ in range(3))
        )

    assert {(each.status_code, each.json()["code"]) for each in answers} == {(401, "token_expired")}
