"""A user's archive, put together by the gateway."""

import httpx2
import pytest
from starlette.types import Receive, Scope, Send

from libs.common.clock import new_id
from libs.common.exports import PART_KEYS
from services.gateway.tests.integration.conftest import FakeServices, Start, serving

pytestmark = pytest.mark.integration


@pytest.fixture
def headers(fakes: FakeServices) -> dict[str, str]:
    return {"Authorization": f"Bearer {fakes.token(new_id())}"}


async def test_each_service_is_asked_with_the_callers_token_and_no_byte_is_lost(
    client: httpx2.AsyncClient, fakes: FakeServices, headers: dict[str, str]
) -> None:
    text = "ä" * 3_000_000
    fakes.planned["GET /export"] = (200, {"text": text})

    answer = await client.get("/user/me/export", headers=headers)

    assert answer.status_code == 200
    archive = answer.json()
    assert archive.pop("exported_at")
    assert archive.pop("format") == "thoughtflow.account"
    assert archive.pop("version") == 1
    assert archive == {key: {"text": text} for key in PART_KEYS.values()}
    assert answer.headers["content-disposition"].startswith("attachment;")
    asked = [scope for scope in fakes.seen if scope["path"] == "/export"]
    assert len(asked) == 4
    sent = headers["Authorization"].encode()
    assert all((b"authorization", sent) in scope["headers"] for scope in asked)


async def test_where_a_part_is_missing_there_is_no_archive(
    client: httpx2.AsyncClient, fakes: FakeServices, headers: dict[str, str]
) -> None:
    fakes.planned["GET /export"] = (503, {"code": "unavailable"})

    answer = await client.get("/user/me/export", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (502, "broken_answer")


async def torn(scope: Scope, receive: Receive, send: Send) -> None:
    """Begins an answer and breaks off."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"chatrooms":[', "more_body": True})
        raise ConnectionResetError


async def test_an_archive_that_lost_a_part_on_the_way_never_looks_whole(
    start_gateway: Start, headers: dict[str, str]
) -> None:
    async with serving(torn) as port, start_gateway(chat_url=f"http://127.0.0.1:{port}") as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.get("/user/me/export", headers=headers)


async def test_nobody_gets_a_part_from_outside(
    client: httpx2.AsyncClient, fakes: FakeServices, headers: dict[str, str]
) -> None:
    """Z2, Z5: the parts' path is not public, the archive is its owner's."""
    part = await client.get("/export", headers=headers)
    without_token = await client.get("/user/me/export")

    assert (part.status_code, without_token.status_code) == (404, 401)
    assert "/export" not in {scope["path"] for scope in fakes.seen}
