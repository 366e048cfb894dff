"""What the model is told, and what becomes of what it says."""

import asyncio
from typing import Any

import httpx2
import orjson
import pytest
from redis.asyncio import Redis

from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.events import (
    AIReplyReady,
    ChatroomSummarised,
    ChatroomTitled,
    ConversationGrew,
    Event,
    Turn,
)
from libs.common.testing import eventually
from services.ai import rules
from services.ai.actions import replies, summaries, titles
from services.ai.errors import ModelUnavailableError
from services.ai.live import stream_key_of
from services.ai.resources import Resources
from services.ai.tests.integration.asking import end_of, posted

pytestmark = pytest.mark.integration


async def bodies(gemini: httpx2.AsyncClient) -> list[Any]:
    return [c["body"] for c in (await gemini.get("/_emulator/requests")).json()["requests"]]


def grew(**values: object) -> ConversationGrew:
    return ConversationGrew.model_validate(
        {
            "user_id": new_id(),
            "chatroom_id": new_id(),
            "summary": "they met",
            "turns": [{"role": "user", "content": "I am Ada"}],
            "until": new_id(),
            **values,
        }
    )


async def test_the_summary_is_a_marked_turn_and_no_instruction(
    res: Resources, gemini: httpx2.AsyncClient
) -> None:
    """L1: what the model wrote earlier is no instruction either."""
    history = [Turn(role="user", content="a"), Turn(role="assistant", content="b")]

    await replies.answer_message(res, posted("c", summary="they met", history=history))

    [body] = await bodies(gemini)
    turns = [(c["role"], c["parts"][0]["text"]) for c in body["contents"]]
    assert turns == [
        ("user", f"{rules.SUMMARY_HEAD}they met"),
        ("user", "a"),
        ("model", "b"),
        ("user", "c"),
    ]
    assert body["systemInstruction"]["parts"] == [{"text": res.settings.system_instruction}]


async def test_unruly_output_is_stored_as_text_and_shown_alike(
    res: Resources, gemini: httpx2.AsyncClient, redis: Redis, announced: list[Event]
) -> None:
    """L4: markup, a NUL and half a surrogate pair."""
    event = posted()
    await gemini.post("/_emulator/faults", json={"mode": "unruly"})

    await replies.answer_message(res, event)

    ready = end_of(announced, event, AIReplyReady)
    assert ready.content == "<script>alert(1)</script> ab ? end"
    stored: Any = await redis.xrange(stream_key_of(event))
    shown = "".join(orjson.loads(fields[b"d"])["text"] for _, fields in stored)
    assert shown == ready.content


async def test_a_huge_reply_is_cut_at_its_limit(
    res: Resources,
    gemini: httpx2.AsyncClient,
    redis: Redis,
    announced: list[Event],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """L4: the limit is 1 MB; see MAX_REPLY."""
    monkeypatch.setattr(rules, "MAX_REPLY", 100)
    event = posted()
    await gemini.post("/_emulator/faults", json={"mode": "long", "chunks": 500})

    await replies.answer_message(res, event)

    ready = end_of(announced, event, AIReplyReady)
    assert len(ready.content) == 100
    assert ready.finish_reason == "max_tokens"
    stored: Any = await redis.xrange(stream_key_of(event))
    shown = "".join(orjson.loads(fields[b"d"])["text"] for _, fields in stored)
    assert shown == ready.content


async def test_a_room_gets_a_title_after_its_first_reply(
    res: Resources, gemini: httpx2.AsyncClient, announced: list[Event]
) -> None:
    event = posted("What is the best tea in the world?", wants_title=True)

    await replies.answer_message(res, event)

    async def titled() -> Event | None:
        return next((each for each in announced if isinstance(each, ChatroomTitled)), None)

    title = await eventually(titled)
    assert isinstance(title, ChatroomTitled)
    assert title.chatroom_id == event.chatroom_id
    assert 1 <= len(title.title) <= 80
    assert not {'"', "\n"} & set(title.title)
    [_, asked] = await bodies(gemini)
    assert asked["systemInstruction"]["parts"] == [{"text": titles.INSTRUCTION}]
    assert "best tea" in asked["contents"][0]["parts"][0]["text"]


async def test_only_a_room_without_a_title_gets_one(
    res: Resources, gemini: httpx2.AsyncClient, announced: list[Event]
) -> None:
    event = posted()
    await replies.answer_message(res, event)

    assert not res.worker.chores
    end_of(announced, event, AIReplyReady)


@pytest.mark.parametrize("mode", ["e503", "safety_empty", "stall"])
async def test_a_title_that_fails_is_no_failure_and_the_reply_does_not_wait_for_it(
    res: Resources, gemini: httpx2.AsyncClient, announced: list[Event], mode: str
) -> None:
    await gemini.post("/_emulator/faults", json={"mode": mode, "match": "Assistant: "})

    event = posted(wants_title=True)
    await replies.answer_message(res, event)
    assert len(res.worker.chores) == 1

    async def done() -> bool:
        return not res.worker.chores

    assert await eventually(done)
    end_of(announced, event, AIReplyReady)


async def test_a_worker_that_closes_gives_up_its_chores(
    res: Resources, gemini: httpx2.AsyncClient, announced: list[Event]
) -> None:
    await gemini.post("/_emulator/faults", json={"mode": "stall", "match": "Assistant: "})
    await replies.answer_message(res, posted(wants_title=True))
    [chore] = res.worker.chores

    await res.worker.close()

    assert chore.cancelled()


async def test_a_conversation_is_summarised_once_however_often_it_is_announced(
    res: Resources, gemini: httpx2.AsyncClient, conn: Connection, announced: list[Event]
) -> None:
    event = grew()

    for _ in range(3):
        await summaries.summarise(res, event)

    [summarised] = announced
    assert isinstance(summarised, ChatroomSummarised)
    assert (summarised.until, summarised.chatroom_id) == (event.until, event.chatroom_id)
    assert 1 <= len(summarised.summary) <= 8000
    [body] = await bodies(gemini)
    assert body["contents"][0]["parts"][0]["text"] == "Earlier summary: they met\n\nUser: I am Ada"
    rows = await conn.fetch("SELECT kind, subject_id FROM usage_ledger")
    assert [tuple(row) for row in rows] == [("summary", event.event_id)]


async def test_deliveries_at_the_same_time_announce_one_summary(
    res: Resources, gemini: httpx2.AsyncClient, conn: Connection, announced: list[Event]
) -> None:
    event = grew()

    await asyncio.gather(*(summaries.summarise(res, event) for _ in range(3)))

    assert [type(e) for e in announced] == [ChatroomSummarised]
    assert await conn.fetchval("SELECT count(*) FROM usage_ledger") == 1


async def test_a_summary_comes_again_later_while_the_model_is_away(
    res: Resources, gemini: httpx2.AsyncClient, announced: list[Event]
) -> None:
    event = grew()
    await gemini.post("/_emulator/faults", json={"mode": "e503"})

    with pytest.raises(ModelUnavailableError):
        await summaries.summarise(res, event)
    await summaries.summarise(res, event)

    assert [type(e) for e in announced] == [ChatroomSummarised]


async def test_a_conversation_that_is_blocked_goes_on_without_a_summary(
    res: Resources, gemini: httpx2.AsyncClient, announced: list[Event]
) -> None:
    await gemini.post("/_emulator/faults", json={"mode": "blocked"})

    await summaries.summarise(res, grew())

    assert announced == []
