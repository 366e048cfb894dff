"""Quotas of the whole system: so many prompts and not one more, on whichever way they come in."""

import asyncio
from collections import Counter

import httpx2
import orjson
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from libs.common.clock import new_id
from libs.common.testing import eventually
from tests.e2e.gemini import Gemini
from tests.e2e.person import Person
from tests.e2e.stack import LIMIT, Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
SENDS = 500
USED_BEFORE = 3
SOCKETS = 10
"""Connections that the frames are spread over; each does one after the other."""

REFUSED = "daily_limit_reached"


async def by_rest(person: Person, room: str, content: str) -> str:
    answer = await person.post(room, content)
    if answer.status_code == 202:
        return "accepted"
    assert answer.status_code in {429, 503}, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["code"])


async def by_openai(person: Person, content: str) -> str:
    body = {"model": "default", "messages": [{"role": "user", "content": content}]}
    answer = await person.http.post("/openai/v1/chat/completions", json=body, timeout=120)
    if answer.status_code == 200:
        return "accepted"
    assert answer.status_code in {429, 503}, answer.text
    return str(answer.json()["error"]["code"])


async def by_socket(stack: Stack, person: Person, room: str, content: str, count: int) -> list[str]:
    """Send so many frames at once on one connection; return what became of each."""
    url = stack.url("gateway").replace("http", "ws", 1) + "/ws"
    token = person.http.headers["authorization"].removeprefix("Bearer ")
    frame = {"op": "send", "chatroom_id": room, "body": {"content": content}}
    protocols = [Subprotocol("thoughtflow.v1")]
    async with connect(url, subprotocols=protocols, compression=None) as socket:
        await socket.send(orjson.dumps({"op": "auth", "id": "auth", "token": token}).decode())
        for number in range(count):
            await socket.send(orjson.dumps({**frame, "id": number}).decode())
        answers = [orjson.loads(await socket.recv()) for _ in range(count + 1)]
    assert answers.pop(0)["op"] == "ok"
    return [
        "accepted" if answer["op"] == "ok" else str(answer["problem"]["code"]) for answer in answers
    ]


async def count(stack: Stack, user_id: str, *statuses: str, role: str) -> int:
    """Return how many messages of the user's are so, as chat keeps them; hidden ones too."""
    found: int = await stack.query(
        lambda conn: conn.fetchval(
            "SELECT count(*) FROM chat.message"
            " WHERE user_id = $1 AND role = $2 AND status = ANY ($3)",
            user_id,
            role,
            list(statuses),
        )
    )
    return found


async def test_500_parallel_sends_on_every_way_in_get_exactly_what_is_left(
    stack: Stack, person: Person, gemini: Gemini
) -> None:
    """C5, R3: over REST, WebSocket and the OpenAI-compatible endpoint, mixed."""
    rooms = [await person.room() for _ in range(5)]
    for number in range(USED_BEFORE):
        assert await by_rest(person, rooms[number], "before") == "accepted"
    content = f"What is 2 + 3? {new_id()}"
    each = SENDS // 3
    in_frames = SENDS - 2 * each

    outcomes = await asyncio.gather(
        *(by_rest(person, rooms[number % 5], content) for number in range(each)),
        *(by_openai(person, content) for _ in range(each)),
        *(
            by_socket(stack, person, rooms[number % 5], content, len(part))
            for number in range(SOCKETS)
            if (part := range(number, in_frames, SOCKETS))
        ),
    )

    told = Counter(
        code for codes in outcomes for code in (codes if isinstance(codes, list) else [codes])
    )
    left = LIMIT - USED_BEFORE
    # A busy machine may answer 503, also about a reply that was accepted: chat's rows tell.
    assert told["accepted"] <= left
    assert told["accepted"] + told[REFUSED] + told["unavailable"] == SENDS, told
    assert told[REFUSED] > SENDS / 2
    user_id = (await person.call("GET", "/user/me"))["id"]
    assert await count(stack, user_id, "completed", role="user") == LIMIT

    async def all_answered() -> bool:
        return await count(stack, user_id, "completed", role="assistant") == LIMIT

    await eventually(all_answered, within_s=60)
    assert len(await gemini.calls(content)) == left
    quota = await person.call("GET", "/quota")
    assert (quota["data"][0]["used"], quota["data"][0]["remaining"]) == (LIMIT, 0)


async def test_basic_is_exactly_so_many_prompts_a_day(
    stack: Stack, person: Person, gemini: Gemini
) -> None:
    """C5, R3: 40 in parallel over 3 rooms; what is refused or invalid costs nothing."""
    rooms = [await person.room() for _ in range(3)]
    content = f"What is 3 + 4? {new_id()}"
    for body in ({"content": ""}, {"content": content, "more": 1}, {"text": content}):
        invalid = await person.http.post(f"/chatroom/{rooms[0]}/message", json=body)
        assert invalid.status_code == 422
    assert (await person.post(str(new_id()), content)).status_code == 404

    answers = await asyncio.gather(
        *(person.post(rooms[number % 3], content) for number in range(40))
    )

    assert Counter(answer.status_code for answer in answers) == {202: LIMIT, 429: 40 - LIMIT}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["upgrade_url"] == "/subscribe/pro"
    assert '"messages";r=0;t=' in _members(refused, "ratelimit")
    assert f'"messages";q={LIMIT};w=86400' in _members(refused, "ratelimit-policy")
    for room in rooms:
        assert {each["status"] for each in await person.ended(room)} == {"completed"}
    assert len(await gemini.calls(content)) == LIMIT
    assert (await person.post(rooms[0], content)).status_code == 429


def _members(answer: httpx2.Response, name: str) -> str:
    """Return a structured field that may come in several lines."""
    return ", ".join(answer.headers.get_list(name))
