import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from libs.common.multiplexed import MultiplexedRedis
from libs.common.testing import eventually

pytestmark = pytest.mark.integration


@pytest.fixture
async def client(redis: Redis, redis_url: str) -> AsyncIterator[MultiplexedRedis]:
    multiplexed = MultiplexedRedis(redis_url, timeout_s=2)
    yield multiplexed
    await multiplexed.aclose()


async def test_each_of_many_concurrent_commands_gets_its_own_reply(
    client: MultiplexedRedis,
) -> None:
    replies = await asyncio.gather(*(client.execute_command("ECHO", str(i)) for i in range(2000)))

    assert replies == [str(i).encode() for i in range(2000)]


async def test_a_cancelled_command_does_not_shift_the_replies_of_others(
    client: MultiplexedRedis,
) -> None:
    await client.execute_command("PING")
    echoes = [asyncio.create_task(client.execute_command("ECHO", str(i))) for i in range(50)]
    await asyncio.sleep(0)
    for task in echoes[::3]:
        task.cancel()
    results = await asyncio.gather(*echoes, return_exceptions=True)

    kept = {i: reply for i, reply in enumerate(results) if not isinstance(reply, BaseException)}
    assert kept == {i: str(i).encode() for i in range(50) if i % 3}


async def test_a_refused_command_fails_alone(client: MultiplexedRedis) -> None:
    await client.execute_command("SET", "text", "x")
    commands = [("GET", "text"), ("INCR", "text"), ("GET", "text")]
    replies = await asyncio.gather(
        *(client.execute_command(*command) for command in commands), return_exceptions=True
    )

    assert [replies[0], replies[2]] == [b"x", b"x"]
    assert isinstance(replies[1], ResponseError)


async def test_a_script_is_sent_again_where_the_server_forgot_it(
    client: MultiplexedRedis, redis: Redis
) -> None:
    double = client.register_script("return {KEYS[1], tonumber(ARGV[1]) * 2}")

    assert await double(keys=["k"], args=[21]) == [b"k", 42]
    await redis.script_flush()
    assert await double(keys=["k"], args=[4]) == [b"k", 8]


async def test_a_lost_connection_fails_what_waits_and_the_next_command_opens_another(
    client: MultiplexedRedis, redis: Redis
) -> None:
    own = await client.execute_command("CLIENT", "ID")
    await redis.client_kill_filter(_id=own)

    async def answers_again() -> bool:
        try:
            return bool(await client.execute_command("CLIENT", "ID") != own)
        except RedisConnectionError:
            return False

    assert await eventually(answers_again)


async def test_a_server_that_falls_silent_is_an_error_in_time_and_loses_its_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = MultiplexedRedis(f"redis://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.2)
        results = await asyncio.gather(
            *(client.execute_command("PING") for _ in range(3)), return_exceptions=True
        )
        await client.aclose()

    assert {type(result) for result in results} == {RedisTimeoutError}


async def test_a_loop_that_was_busy_does_not_take_a_reply_for_late(redis_url: str) -> None:
    client = MultiplexedRedis(redis_url, timeout_s=0.2)
    await client.execute_command("PING")
    echo = asyncio.create_task(client.execute_command("ECHO", "x"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    time.sleep(0.4)  # noqa: ASYNC251 - this is the busy loop

    assert await echo == b"x"
    await client.aclose()


async def test_nobody_there_is_an_error_at_once_and_also_for_who_comes_just_after() -> None:
    client = MultiplexedRedis("redis://127.0.0.1:1", timeout_s=5)
    for _ in range(2):
        with pytest.raises(RedisConnectionError):
            await client.execute_command("PING")
    await client.aclose()


async def test_a_wrong_password_is_refused(redis: Redis, redis_url: str) -> None:
    place = redis_url.rpartition("@")[2]
    client = MultiplexedRedis(f"redis://:wrong@{place}", timeout_s=2)

    with pytest.raises(ResponseError):
        await client.execute_command("PING")
    await client.aclose()


async def test_the_database_of_the_url_is_used(redis: Redis, redis_url: str) -> None:
    other = MultiplexedRedis(redis_url.rpartition("/")[0] + "/3", timeout_s=2)
    await other.execute_command("SET", "where", "3", "EX", 5)

    assert await redis.get("where") is None
    assert await other.execute_command("GET", "where") == b"3"
    await other.aclose()


async def test_a_closed_client_fails_and_stays_closed(client: MultiplexedRedis) -> None:
    await client.execute_command("PING")
    await client.aclose()

    with pytest.raises(RedisConnectionError):
        await client.execute_command("PING")
