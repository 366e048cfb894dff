"""What a post does at once, and what it tells others."""

import time
from statistics import quantiles
from typing import Any
from uuid import UUID

import httpx2
import pytest
from aio_pika import DeliveryMode
from fastapi import FastAPI
from faststream.rabbit import RabbitQueue

from libs.common.clock import new_id
from libs.common.events import MessagePosted
from libs.common.testing import eventually
from libs.common.topology import EVENTS
from services.chat.tests.integration.posting import allow_everything

pytestmark = pytest.mark.integration


async def test_one_event_goes_out_for_a_message_and_it_holds_no_token(
    app: FastAPI, client: httpx2.AsyncClient, room_id: UUID, user_id: UUID
) -> None:
    """E1: one MessagePosted, persistent, with id and type, though the post comes three times."""
    broker = app.state.resources.brokers.publish
    spy = await broker.declare_queue(RabbitQueue(f"spy.{new_id()}", exclusive=True))
    await spy.bind(EVENTS.name, routing_key=MessagePosted.TYPE)
    found: list[Any] = []

    async def come() -> Any:
        while (message := await spy.get(fail=False, no_ack=True)) is not None:
            if str(room_id).encode() in message.body:
                found.append(message)
        return found

    headers = {"Idempotency-Key": "k1"}
    path = f"/chatroom/{room_id}/message"
    answers = [await client.post(path, json={"content": "hi"}, headers=headers) for _ in range(3)]
    await eventually(come)

    async def all_published() -> bool:
        return not await app.state.resources.db.fetchval("SELECT EXISTS (SELECT FROM outbox)")

    await eventually(all_published)
    await come()

    [message] = found
    event = MessagePosted.model_validate_json(message.body)
    assert message.delivery_mode == DeliveryMode.PERSISTENT
    assert (message.message_id, message.type) == (str(event.event_id), MessagePosted.TYPE)
    assert {a.json()["reply"]["id"] for a in answers} == {str(event.reply_id)}
    token = client.headers["authorization"].removeprefix("Bearer ")
    everything = message.body + repr(message.headers).encode()
    assert not [part for part in token.split(".") if part.encode() in everything]
    # What there is room for: nothing that says who or where a person is.
    assert set(MessagePosted.model_fields) == {
        *("event_id", "occurred_at", "user_id", "chatroom_id", "message_id", "reply_id"),
        *("content", "history", "summary", "plan", "model", "wants_title"),
    }
    await spy.delete(if_unused=False, if_empty=False)


async def test_posts_are_accepted_at_once_though_nobody_answers_any(
    app: FastAPI, client: httpx2.AsyncClient, user_id: UUID
) -> None:
    """U4: no ai runs here, so a post that waited for a reply would wait for ever. Each is accepted
    within 1 s, and 95 % within 500 ms."""
    await allow_everything(app, user_id)
    rooms = [(await client.post("/chatroom", json={})).json()["id"] for _ in range(5)]
    took_s: list[float] = []
    for number in range(60):
        began = time.monotonic()
        answer = await client.post(
            f"/chatroom/{rooms[number % 5]}/message", json={"content": f"message {number}"}
        )
        took_s.append(time.monotonic() - began)
        assert answer.status_code == 202, answer.text
        assert answer.json()["reply"]["status"] == "queued"

    assert max(took_s) < 1
    assert quantiles(took_s, n=20)[-1] < 0.5
