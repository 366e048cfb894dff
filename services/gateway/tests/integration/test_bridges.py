"""The AI SDK's and OpenAI's formats through the whole gateway."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import orjson
import pytest
from redis.asyncio import Redis

from libs.common.clock import new_id
from services.gateway.tests.integration.conftest import FakeServices, Start, eventually
from services.gateway.tests.integration.stage import Stage

pytestmark = pytest.mark.integration
OPENAI_PYTHON = os.environ.get("TEST_OPENAI_PYTHON", "")
"""A Python that has the `openai` package; without it raw HTTP says the same, less surely."""

HELLO = {"model": "default", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
async def stage(start_gateway: Start, fakes: FakeServices, redis: Redis) -> AsyncIterator[Stage]:
    async with start_gateway(heartbeat_s=0.2, recheck_s=0.5) as client:
        stage = Stage(client, fakes, redis)
        fakes.accept("POST /completion", stage.room_id, stage.reply_id)
        yield stage


def parts(response: httpx2.Response) -> list[Any]:
    lines = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
    return [line if line == "[DONE]" else orjson.loads(line) for line in lines]


def show_room(stage: Stage, *replies: tuple[str, str]) -> None:
    messages = [{"id": id_, "role": "assistant", "status": status} for id_, status in replies]
    page = {"data": [*messages, {"id": str(new_id()), "role": "user", "status": "completed"}]}
    stage.fakes.planned[f"GET /chatroom/{stage.room_id}/message"] = (200, page)


async def test_the_ai_sdk_follows_the_rooms_open_reply(stage: Stage) -> None:
    show_room(stage, (str(new_id()), "queued"), (str(stage.reply_id), "running"))
    await stage.write("one ", "two")
    await stage.end()
    answer = await stage.client.get(f"/chatroom/{stage.room_id}/stream", headers=stage.headers())

    part = f"{stage.reply_id}-1"
    assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert parts(answer) == [
        {"type": "start", "messageId": str(stage.reply_id)},
        {"type": "start-step"},
        {"type": "text-start", "id": part},
        {"type": "text-delta", "id": part, "delta": "one "},
        {"type": "text-delta", "id": part, "delta": "two"},
        {"type": "text-end", "id": part},
        {"type": "finish-step"},
        {"type": "finish"},
        "[DONE]",
    ]


async def test_the_ai_sdk_is_told_204_when_no_reply_is_open(stage: Stage) -> None:
    show_room(stage, (str(stage.reply_id), "completed"))
    answer = await stage.client.get(f"/chatroom/{stage.room_id}/stream", headers=stage.headers())
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("room_id", ["x", str(new_id())])
async def test_a_foreign_room_is_not_found(stage: Stage, room_id: str) -> None:
    answer = await stage.client.get(f"/chatroom/{room_id}/stream", headers=stage.headers())
    assert answer.status_code == 404


async def test_a_completion_is_answered_whole(stage: Stage) -> None:
    await stage.write("one ", "two")
    await stage.end()
    answer = await stage.client.post(
        "/openai/v1/chat/completions", headers=stage.headers(), json=HELLO
    )

    assert answer.status_code == 200
    document = answer.json()
    assert document["object"] == "chat.completion"
    assert document["choices"][0]["message"] == {
        "role": "assistant",
        "content": "one two",
        "refusal": None,
    }
    assert document["choices"][0]["finish_reason"] == "stop"
    assert {"messages": HELLO["messages"]} in [orjson.loads(b) for b in stage.fakes.bodies if b]


async def test_a_completion_is_streamed_in_chunks(stage: Stage) -> None:
    await stage.write("one ", "two")
    await stage.end()
    answer = await stage.client.post(
        "/openai/v1/chat/completions", headers=stage.headers(), json=HELLO | {"stream": True}
    )
    *chunks, done = parts(answer)

    assert done == "[DONE]"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas == [
        {"role": "assistant", "content": ""},
        {"content": "one "},
        {"content": "two"},
        {},
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"messages": []}, 400, "validation_failed"),
        (HELLO | {"n": 2}, 400, "validation_failed"),
        (HELLO | {"tools": [{}]}, 400, "validation_failed"),
        ([], 400, "validation_failed"),
    ],
)
async def test_a_completion_that_we_cannot_do_is_refused_in_openais_words(
    stage: Stage, body: Any, status: int, code: str
) -> None:
    answer = await stage.client.post(
        "/openai/v1/chat/completions", headers=stage.headers(), json=body
    )
    assert answer.status_code == status
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.json()["error"]["code"] == code


async def test_every_refusal_has_openais_shape(stage: Stage) -> None:
    problem = {"status": 429, "code": "daily_limit_reached", "detail": "tomorrow"}
    stage.fakes.planned["POST /completion"] = (429, problem)
    path = "/openai/v1/chat/completions"
    answers = {
        401: await stage.client.post(path, json=HELLO),
        429: await stage.client.post(path, json=HELLO, headers=stage.headers()),
        404: await stage.client.get("/openai/v1/embeddings", headers=stage.headers()),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        assert set(answer.json()) == {"error"}
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answers[429].json()["error"]["code"] == "daily_limit_reached"


async def test_the_models_that_the_caller_may_choose_are_listed(stage: Stage) -> None:
    models = [{"id": "small", "allowed": True}, {"id": "large", "allowed": False}]
    stage.fakes.planned["GET /model"] = (200, {"data": models})
    answer = await stage.client.get("/openai/v1/models", headers=stage.headers())
    assert [model["id"] for model in answer.json()["data"]] == ["default", "small"]


_SCRIPT = """
import json, sys
import openai
url, key = sys.argv[1:]
client = openai.OpenAI(base_url=url, api_key=key, max_retries=0)
ask = dict(model="default", messages=[{"role": "user", "content": "hello"}])
whole = client.chat.completions.create(**ask)
stream = client.chat.completions.create(**ask, stream=True)
streamed = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
models = [model.id for model in client.models.list()]
wrong = openai.OpenAI(base_url=url, api_key="wrong", max_retries=0)
refused = {}
for name, call in {
    "key": lambda: wrong.models.list(),
    "body": lambda: client.chat.completions.create(**ask, n=2),
}.items():
    try:
        call()
    except openai.APIStatusError as exc:
        refused[name] = [type(exc).__name__, exc.code]
print(json.dumps([whole.choices[0].message.content, streamed, models, refused]))
"""


@pytest.mark.skipif(not shutil.which(OPENAI_PYTHON), reason="TEST_OPENAI_PYTHON is not set")
async def test_openais_own_client_works_unmodified(stage: Stage) -> None:
    stage.fakes.planned["GET /model"] = (200, {"data": [{"id": "small", "allowed": True}]})
    await stage.write("one ", "two")
    await stage.end()
    url = f"{str(stage.client.base_url).rstrip('/')}/openai/v1"
    process = await asyncio.create_subprocess_exec(
        *(OPENAI_PYTHON, "-c", _SCRIPT, url, stage.fakes.token(stage.user_id)),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()

    assert json.loads(out) == [
        "one two",
        "one two",
        ["default", "small"],
        {
            "key": ["AuthenticationError", "unauthenticated"],
            "body": ["BadRequestError", "validation_failed"],
        },
    ]


async def test_a_completion_that_starts_over_is_an_error_and_no_muddle(stage: Stage) -> None:
    async def write() -> None:
        await eventually(stage.is_watched)
        await stage.write("old words")
        await stage.write("new", attempt=2)
        await stage.end(attempt=2)

    writing = asyncio.create_task(write())
    answer = await stage.client.post(
        "/openai/v1/chat/completions", headers=stage.headers(), json=HELLO | {"stream": True}
    )
    await writing
    *chunks, error, done = parts(answer)

    assert done == "[DONE]"
    assert error["error"]["code"] == "reply_failed"
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == "old words"
