"""Ended sessions: refused, and cut off, by every gateway."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx2
import pytest
from faststream.rabbit import RabbitBroker
from redis.asyncio import Redis

from libs.common.broker import make_brokers
from libs.common.clock import new_id, utc_now
from libs.common.errors import SessionRevokedError
from libs.common.events import SessionRevoked
from libs.common.identity import Identity
from libs.common.multiplexed import MultiplexedRedis
from libs.common.topology import EVENTS
from services.gateway.lifetime import Sessions
from services.gateway.limits import Limit, Limiter
from services.gateway.store import AdmissionStore, RevocationStore, revoked_key
from services.gateway.tests.integration.conftest import FakeServices, Start, eventually
from services.gateway.tests.integration.socket_client import Socket, socket_to
from services.gateway.tests.integration.stage import Event, Stage, all_of, parsed
from tests.ports import free_port

pytestmark = pytest.mark.integration
Gateways = list[httpx2.AsyncClient]


@pytest.fixture
async def gateways(
    start_gateway: Start, rabbitmq_url: str, redis: Redis
) -> AsyncIterator[Gateways]:
    """Two that know each other by Redis and RabbitMQ alone."""
    options: dict[str, Any] = {"rabbitmq_url": rabbitmq_url, "user_requests_per_minute": 0}
    async with AsyncExitStack() as stack:
        started = [await stack.enter_async_context(start_gateway(**options)) for _ in range(2)]
        await heard(redis, by=2)
        yield started


@pytest.fixture
async def broker(rabbitmq_url: str) -> AsyncIterator[RabbitBroker]:
    brokers = make_brokers(rabbitmq_url, service="tests", prefetch=1)
    async with brokers.running():
        yield brokers.publish


async def heard(redis: Redis, *, by: int) -> None:
    """Wait until so many processes listen."""

    async def is_heard() -> bool:
        return bool((await redis.pubsub_numsub("revocations"))[0][1] == by)

    await eventually(is_heard)


async def announce(broker: RabbitBroker, user_id: UUID, session_id: UUID) -> None:
    """Publish a revocation as auth's relay does."""
    event = SessionRevoked(
        user_id=user_id,
        session_id=session_id,
        tokens_expire_at=utc_now() + timedelta(minutes=16),
        reason="logout",
    )
    await broker.publish(
        event,
        exchange=EVENTS,
        routing_key=event.TYPE,
        message_id=str(event.event_id),
        message_type=event.TYPE,
        persist=True,
    )


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class Device:
    """The connections of one token to every gateway: a reply, the feed and a socket at each."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.streams: list[AsyncIterator[Event]] = []
        self.sockets: list[Socket] = []

    async def connect(self, stack: AsyncExitStack, gateways: Gateways, path: str) -> None:
        for gateway in gateways:
            for target in (path, "/event"):
                request = gateway.stream("GET", target, headers=bearer(self.token))
                self.streams.append(parsed(await stack.enter_async_context(request)))
                await anext(self.streams[-1])
            self.sockets.append(await stack.enter_async_context(socket_to(gateway, self.token)))

    async def ends(self) -> tuple[list[Event], list[int]]:
        """Return each connection's last event, and the sockets' close codes."""
        streams = await asyncio.gather(*(all_of(events) for events in self.streams))
        frames = [(await socket.next())["event"] for socket in self.sockets]
        codes = [await socket.close_code() for socket in self.sockets]
        return [events[-1] for events in streams] + frames, codes


async def test_an_ended_session_loses_every_connection_at_every_gateway_within_a_second(
    gateways: Gateways, broker: RabbitBroker, fakes: FakeServices, redis: Redis
) -> None:
    """J10: and the user's other sessions keep theirs."""
    stage = Stage(gateways[0], fakes, redis)
    await stage.write("one ")
    session_id = new_id()
    ended = Device(fakes.token(stage.user_id, session_id))
    kept = Device(fakes.token(stage.user_id))
    async with asyncio.timeout(20), AsyncExitStack() as stack:
        for device in (ended, kept):
            await device.connect(stack, gateways, stage.path)
        ending = asyncio.create_task(ended.ends())
        await asyncio.sleep(0)

        began = time.monotonic()
        await announce(broker, stage.user_id, session_id)
        last, codes = await ending
        took_s = time.monotonic() - began
        refusals = [await each.get("/user/me", headers=bearer(ended.token)) for each in gateways]

        assert {event["type"] for event in last} == {"session.revoked"}
        assert {event["data"]["session_id"] for event in last} == {str(session_id)}
        assert codes == [4401, 4401]
        assert took_s < 1
        assert {answer.json()["code"] for answer in refusals} == {"session_revoked"}
        for socket in kept.sockets:
            assert (await socket.ask(op="ping"))["op"] == "ok"
        told = await anext(kept.streams[1])  # the feed
        assert (told["type"], told["data"]["reason"]) == ("session.revoked", "logout")
        await stage.write("two", start=4)
        await stage.end()
        assert (await all_of(kept.streams[0]))[-1]["type"] == "generation.completed"


async def test_a_poll_that_waits_is_refused_at_the_end_of_its_session(
    gateways: Gateways, broker: RabbitBroker, fakes: FakeServices, redis: Redis
) -> None:
    user_id, session_id = new_id(), new_id()
    headers = bearer(fakes.token(user_id, session_id)) | {"Accept": "application/json"}
    begin = await gateways[0].get("/event", headers=headers)
    params = {"after": begin.json()["cursor"], "wait": 15}
    poll = asyncio.create_task(gateways[0].get("/event", headers=headers, params=params))

    async def is_waiting() -> bool:
        return bool((await redis.pubsub_numsub(f"feed:{user_id}"))[0][1])

    await eventually(is_waiting)
    await announce(broker, user_id, session_id)

    async with asyncio.timeout(3):
        answer = await poll
    assert (answer.status_code, answer.json()["code"]) == (401, "session_revoked")


async def test_an_answer_to_openais_client_ends_with_its_session_though_not_with_its_token(
    gateways: Gateways, broker: RabbitBroker, fakes: FakeServices, redis: Redis
) -> None:
    stage = Stage(gateways[0], fakes, redis)
    fakes.accept("POST /completion", stage.room_id, stage.reply_id)
    session_id = new_id()
    body = {"model": "default", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    asking = asyncio.create_task(
        gateways[0].post(
            "/openai/v1/chat/completions",
            json=body,
            headers=bearer(fakes.token(stage.user_id, session_id)),
        )
    )
    await eventually(stage.is_watched)
    await announce(broker, stage.user_id, session_id)

    async with asyncio.timeout(3):
        answer = await asking
    assert answer.status_code == 200
    assert 'finish_reason":"stop' not in answer.text


async def test_a_socket_that_went_on_with_another_login_outlives_its_first(
    gateways: Gateways, broker: RabbitBroker, fakes: FakeServices, redis: Redis
) -> None:
    user_id, first, second = new_id(), new_id(), new_id()
    async with (
        asyncio.timeout(10),
        socket_to(gateways[0], fakes.token(user_id, first)) as socket,
    ):
        await socket.ask(op="auth", token=fakes.token(user_id, second))
        await announce(broker, user_id, first)
        await eventually(lambda: redis.exists(revoked_key(first)))
        assert (await socket.ask(op="ping"))["op"] == "ok"
        await announce(broker, user_id, second)
        assert await socket.close_code() == 4401


async def test_what_was_missed_while_redis_was_away_is_looked_up(
    start_gateway: Start, fakes: FakeServices, redis: Redis
) -> None:
    session_id = new_id()
    headers = bearer(fakes.token(new_id(), session_id))
    async with (
        asyncio.timeout(15),
        start_gateway() as gateway,
        gateway.stream("GET", "/event", headers=headers) as response,
    ):
        await heard(redis, by=1)
        events = parsed(response)
        await anext(events)
        await redis.set(revoked_key(session_id), str(time.time() + 60), ex=60)  # unheard
        await redis.client_kill_filter(_type="pubsub")

        last = await all_of(events)

    assert last[-1]["type"] == "session.revoked"


async def test_a_revocation_is_kept_for_as_long_as_tokens_live_and_no_longer(
    redis: Redis,
) -> None:
    store, lately, long_ago = RevocationStore(redis), new_id(), new_id()

    await store.revoke(lately, until=time.time() + 60)
    await store.revoke(long_ago, until=time.time() - 1)

    assert 58 < await redis.ttl(revoked_key(lately)) <= 60
    assert list(await store.find_revoked([lately, long_ago, new_id()])) == [lately]
    assert await store.find_revoked([]) == {}


async def test_who_heard_of_it_refuses_the_session_without_redis() -> None:
    gone = MultiplexedRedis(f"redis://127.0.0.1:{free_port()}/0", timeout_s=0.2)
    sessions, any_number = Sessions(), Limit("any", 0, 1)
    limiter = Limiter(
        AdmissionStore(gone),
        sessions,
        user=any_number,
        anonymous=any_number,
        on_unknown=lambda *_: None,
    )
    login = Identity(new_id(), new_id(), "user", int(time.time()) + 60)
    await limiter.admit(login, "192.0.2.1", 0.0)

    sessions.end(login.session_id, until=time.time() + 60)

    with pytest.raises(SessionRevokedError):
        await limiter.admit(login, "192.0.2.1", 0.0)
    await gone.aclose()


def test_ended_sessions_are_forgotten_once_their_tokens_are_too_old() -> None:
    sessions, old, new = Sessions(), new_id(), new_id()

    sessions.end(old, until=time.time() - 1)
    sessions.end(new, until=time.time() + 60)

    assert not sessions.has_ended(old)
    assert sessions.has_ended(new)


def test_nobody_is_watched_whose_connections_have_gone() -> None:
    sessions, session_id = Sessions(), new_id()

    with sessions.waking(session_id, lambda: None), sessions.waking(session_id, print):
        assert sessions.watched == [session_id]

    assert sessions.watched == []
