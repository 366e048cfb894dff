"""Where the whole system names somebody: every table, every queue, every key."""

import re
from collections.abc import Collection, Iterable
from typing import Any

import aio_pika
from redis.asyncio import Redis

from libs.common import topology
from libs.common.db import Connection
from tests.e2e.stack import ROOT, Stack

RETAINED = ROOT / "docs/operations/deletion.md"
_ROW = re.compile(r"^\| `?(?:redis )?`?([^`|]+)`? \| [^|]+ \| (yes|no) \|", re.MULTILINE)
_TABLES = """
    SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
    WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
"""


def may_name_a_deleted_user() -> set[str]:
    """Return the places that the published table allows to."""
    return {where for where, names in _ROW.findall(RETAINED.read_text()) if names == "yes"}


async def places_that_name(stack: Stack, words: Collection[str]) -> set[str]:
    """Return tables, queues and kinds of keys that hold any of `words`, ids also as bytes."""
    needles = {word.lower() for word in words}
    needles |= {word.replace("-", "") for word in needles}
    found = set(await stack.query(lambda conn: _tables(conn, needles)))
    found |= {queue async for queue in _queues(stack.url("rabbitmq"), needles)}
    async with Redis.from_url(stack.url("valkey")) as redis:
        found |= {key async for key in _keys(redis, needles)}
    return found


async def _tables(conn: Connection, needles: Iterable[str]) -> list[str]:
    found = []
    for (table,) in await conn.fetch(_TABLES):
        named = await conn.fetchval(
            f"SELECT EXISTS (SELECT FROM {table} t, unnest($1::text[]) word"
            " WHERE position(word IN lower(t::text)) > 0)",
            list(needles),
        )
        found += [table] if named else []
    return found


async def _queues(url: str, needles: Iterable[str]) -> Any:
    """Look at what waits; each message goes back to where it was."""
    names = [
        topology.DEAD_LETTERS.name,
        *(topology._delay_queue(seconds).name for seconds in topology.DELAYS_S),
        *(f"{who}.{event.TYPE}" for event, to in topology.CONSUMERS.items() for who in to),
    ]
    async with await aio_pika.connect(url) as connection, await connection.channel() as channel:
        for name in names:
            queue = await channel.get_queue(name)
            while (message := await queue.get(fail=False)) is not None:
                if any(word in message.body.decode().lower() for word in needles):
                    yield name


async def _keys(redis: Redis, needles: Iterable[str]) -> Any:
    async for key in redis.scan_iter(count=1000):
        content = str(key) + await _value(redis, key)
        if any(word in content.lower() for word in needles):
            yield re.sub(rb"[0-9a-f-]{32,}", b"*", key).decode()


async def _value(redis: Any, key: bytes) -> str:
    match await redis.type(key):
        case b"string":
            return str(await redis.get(key))
        case b"stream":
            return str(await redis.xrange(key))
        case b"zset":
            return str(await redis.zrange(key, 0, -1))
        case b"set":
            return str(await redis.smembers(key))
        case b"hash":
            return str(await redis.hgetall(key))
        case b"none":
            return ""  # gone since
        case other:
            raise AssertionError(f"no test reads keys of type {other}")
