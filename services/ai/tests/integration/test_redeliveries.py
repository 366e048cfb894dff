"""What RabbitMQ may do to ai's deliveries: repeat them, and bring them in any order."""

import asyncio
import random
from typing import Any

import httpx2
import pytest
from aio_pika import DeliveryMode
from faststream.rabbit import RabbitQueue

from libs.common import outbox, topology
from libs.common.clock import new_id
from libs.common.db import Connection
from libs.common.events import (
    AIReplyReady,
    AIReplyStopped,
    ConversationGrew,
    Entitlements,
    Event,
    MessagePosted,
    ReplyStopRequested,
    SubscriptionChanged,
)
from libs.common.testing import eventually
from services.ai.actions import entitlements, replies, stops, summaries
from services.ai.resources import Resources
from services.ai.tests.integration.asking import calls, end_of, posted, stop_of

pytestmark = pytest.mark.integration


async def deliver(res: Resources, event: Event) -> None:
    match event:
        case MessagePosted():
            await replies.answer_message(res, event)
        case ReplyStopRequested():
            await stops.stop_reply(res, event)
        case ConversationGrew():
            await summaries.summarise(res, event)
        case SubscriptionChanged():
            await entitlements.apply_subscription(res, event)


def plan(version: int, *models: str) -> SubscriptionChanged:
    granted = Entitlements(messages_per_day=None, models=models)
    return SubscriptionChanged(
        user_id=USER, version=version, plan="pro", status="active", entitlements=granted
    )


USER = new_id()


@pytest.mark.parametrize("seed", range(6))
async def test_deliveries_that_come_three_times_in_any_order_end_alike(
    res: Resources,
    gemini: httpx2.AsyncClient,
    conn: Connection,
    announced: list[Event],
    seed: int,
) -> None:
    """E2, E6: one end, one ledger row and at most one call each; the newest plan stays."""
    answered = [posted(f"question {number}") for number in range(4)]
    stopped = posted("stopped")
    turns = [{"role": "user", "content": "I am Ada"}]
    grew = ConversationGrew.model_validate(
        {"user_id": USER, "chatroom_id": new_id(), "turns": turns, "until": new_id()}
    )
    plans = [plan(1, "a"), plan(2, "a", "b"), plan(3)]
    # A stop that comes before its message ends it, one that comes after it finds it answered.
    once: list[Event] = [*answered, stopped, stop_of(stopped), grew, *plans]
    deliveries = once * 3
    random.Random(seed).shuffle(deliveries)

    for group in range(0, len(deliveries), 5):
        await asyncio.gather(*(deliver(res, event) for event in deliveries[group : group + 5]))

    for event in answered:
        end_of(announced, event, AIReplyReady)
    ended = await conn.fetch("SELECT id, status FROM generation")
    assert {row["id"] for row in ended} == {e.reply_id for e in (*answered, stopped)}
    assert {row["status"] for row in ended} <= {"completed", "stopped"}
    ledger = await conn.fetch("SELECT kind, subject_id FROM usage_ledger")
    assert sorted(row["kind"] for row in ledger) == ["reply"] * 5 + ["summary"]
    assert await conn.fetchval("SELECT models FROM entitlement") == []
    assert len(announced_ends(announced)) == 5
    asked = [
        c["last_user_text"] for c in (await gemini.get("/_emulator/requests")).json()["requests"]
    ]
    assert {asked.count(event.content) for event in answered} == {1}
    assert asked.count("stopped") <= 1


def announced_ends(announced: list[Event]) -> list[Event]:
    return [each for each in announced if type(each).__name__ in {"AIReplyReady", "AIReplyStopped"}]


async def test_a_reply_that_is_stopped_before_it_began_has_one_free_row(
    res: Resources, gemini: httpx2.AsyncClient, conn: Connection, announced: list[Event]
) -> None:
    event = posted()

    for _ in range(3):
        await stops.stop_reply(res, stop_of(event))
    await replies.answer_message(res, event)

    end_of(announced, event, AIReplyStopped)
    [row] = await conn.fetch("SELECT * FROM usage_ledger")
    assert (row["kind"], row["subject_id"], row["user_id"], row["chatroom_id"]) == (
        *("reply", event.reply_id, event.user_id),
        event.chatroom_id,
    )
    assert (row["total_tokens"], row["cost_micros"], row["estimated"]) == (0, 0, False)
    assert await calls(gemini) == 0


async def test_one_end_goes_out_that_would_survive_the_broker_and_names_no_person(
    res: Resources, gemini: httpx2.AsyncClient
) -> None:
    """E1: one AIReplyReady, persistent, with id and type, and the reply that it belongs to."""
    broker = res.brokers.publish
    spy = await broker.declare_queue(RabbitQueue(f"spy.{new_id()}", exclusive=True))
    await spy.bind(topology.EVENTS.name, routing_key=AIReplyReady.TYPE)
    event = posted("hello")
    async with res.db.acquire() as conn, conn.transaction():
        await outbox.add(conn, event)
    res.relay.nudge()
    found: list[Any] = []

    async def come() -> Any:
        message = await spy.get(fail=False, no_ack=True)
        if message is not None and str(event.reply_id).encode() in message.body:
            found.append(message)
        return found

    await eventually(come, within_s=10)
    await replies.answer_message(res, event)  # it comes again

    async def all_published() -> bool:
        return not await res.db.fetchval("SELECT EXISTS (SELECT FROM outbox)")

    await eventually(all_published)
    await come()

    [message] = found
    ready = AIReplyReady.model_validate_json(message.body)
    assert message.delivery_mode == DeliveryMode.PERSISTENT
    assert (message.message_id, message.type) == (str(ready.event_id), AIReplyReady.TYPE)
    assert (ready.reply_id, ready.user_id) == (event.reply_id, event.user_id)
    assert set(AIReplyReady.model_fields) == {
        *("event_id", "occurred_at", "user_id", "chatroom_id", "reply_id", "attempt"),
        *("content", "finish_reason", "model", "usage"),
    }
    await spy.delete(if_unused=False, if_empty=False)
