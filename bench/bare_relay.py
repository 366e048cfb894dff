"""The least that live streams cost: XADD and PUBLISH for each token, and a raw ASGI SSE writer.

`python -m bench.bare_relay write URL STREAMS TOKENS PER_S` puts every token of every stream into
Valkey; `python -m bench.bare_relay serve URL PORT` sends what is published on a channel to who asks
for `/<channel>`. Neither checks, resumes or ends anything: a client reads what it can count on.
"""

import asyncio
import sys
from collections import defaultdict
from functools import partial
from pathlib import Path

import uvicorn
import uvloop
from redis.asyncio import Redis
from starlette.types import Message, Receive, Scope, Send

from deploy.local.config import ROOT
from deploy.local.process import Command
from libs.common.multiplexed import MultiplexedRedis

DATA = b"data: "
READY = b": ready\n\n"
"""Comes first, once the viewer is sure to get what is written from now on."""

_TIMEOUT_S = 5.0
_APPEND = """
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', 10000, '*', 'd', ARGV[1])
redis.call('PUBLISH', KEYS[1], id .. ' ' .. ARGV[1])
"""


def writer(*, url: str, streams: int, tokens: int, per_s: float, folder: Path) -> Command:
    """Return how to write that many tokens to each stream; it ends by itself."""
    return _command("bare-writer", "write", url, streams, tokens, per_s, folder=folder, port=0)


def server(*, url: str, port: int, folder: Path) -> Command:
    """Return how to start the SSE writer."""
    return _command("bare-server", "serve", url, port, folder=folder, port=port)


def channel(number: int) -> str:
    """Return the name of a stream, which is its channel's and its path's too."""
    return f"bare:{number}"


def token(number: int) -> str:
    """Return what is written n-th, from 0 on: as the emulator counts."""
    return f" {number + 1}" if number else "1"


def count(body: bytearray) -> int:
    """Return how many tokens a viewer has got."""
    return body.count(DATA)


def _command(name: str, role: str, *words: object, folder: Path, port: int) -> Command:
    return Command(
        name=name,
        argv=[sys.executable, "-m", "bench.bare_relay", role, *map(str, words)],
        cwd=ROOT,
        env={},
        log=folder / f"{name}.log",
        port=port,
        url=f"http://127.0.0.1:{port}",
        what="a bare relay",
    )


async def write(url: str, *, streams: int, tokens: int, per_s: float) -> None:
    """Write all streams at the same time, each token when it is due."""
    redis = MultiplexedRedis(url, timeout_s=_TIMEOUT_S)
    append = redis.register_script(_APPEND)
    loop = asyncio.get_running_loop()

    async def one(number: int) -> None:
        began = loop.time() + number / streams / per_s
        for index in range(tokens):
            await asyncio.sleep(max(0.0, began + index / per_s - loop.time()))
            await append([channel(number)], [token(index).encode()])

    await asyncio.gather(*map(one, range(streams)))
    await redis.aclose()


class BareServer:
    """An ASGI app: each path is a channel, and each answer goes on until the client leaves."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._queues: dict[str, set[asyncio.Queue[bytes]]] = defaultdict(set)
        self._reader: asyncio.Task[None] | None = None
        self._reads = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one viewer."""
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())
        await receive()
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        viewers = self._queues[scope["path"][1:]]
        viewers.add(queue)
        await self._reads.wait()
        pump = asyncio.create_task(_pump(queue, send))
        await receive()  # the client has left
        pump.cancel()
        viewers.discard(queue)

    async def _read(self) -> None:
        async with Redis.from_url(self._url) as redis, redis.pubsub() as pubsub:
            await pubsub.psubscribe("bare:*")
            async for message in pubsub.listen():
                self._reads.set()  # the first says that we are subscribed
                if message["type"] == "pmessage":
                    for queue in self._queues[message["channel"].decode()]:
                        queue.put_nowait(message["data"])


async def _pump(queue: "asyncio.Queue[bytes]", send: Send) -> None:
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send(_part(READY))
    while True:
        place, _, text = (await queue.get()).partition(b" ")
        await send(_part(b"id: %b\n%b%b\n\n" % (place, DATA, text)))


def _part(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}


def main() -> None:
    """Play the part that the arguments name."""
    role, url, *rest = sys.argv[1:]
    if role == "write":
        streams, tokens, per_s = rest
        run = partial(write, streams=int(streams), tokens=int(tokens), per_s=float(per_s))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(url))
        return
    uvicorn.run(
        BareServer(url),
        port=int(rest[0]),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
