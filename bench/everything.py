"""One round of everything that clients do, done well and done badly."""

import asyncio
from typing import TYPE_CHECKING

from bench.answering import Conversation, converse, ensure_answered_once
from bench.client import Exchange, connect, get, post
from bench.event_stream import pieces, stream_lanes
from bench.measures import VoidError
from bench.people import numbered, owner
from bench.system import System
from bench.web_socket import socket_lanes

if TYPE_CHECKING:
    import asyncpg

MANY = 10
"""Users who do each thing in a round."""

_WITHIN_S = 30.0


async def once(system: System, admin: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Read, post, follow and get it wrong; wait until all of it has ended.

    Raises:
        VoidError: something is answered in another way than it must be.
    """
    rooms = await system.people.move_in(admin, MANY)
    await converse(system, [Conversation(room, 2) for room in rooms])
    await ensure_answered_once(admin, rooms, turns=2)
    await _ask(system, rooms)
    await _stream(system, await system.people.move_in(admin, MANY))
    await _follow(system)


async def _ask(system: System, rooms: range) -> None:
    """Read what is there; ask for what is not, for what is another's, and without a login."""
    lane = await connect(system.port("gateway"), lambda: None)
    for room in rooms:
        own, other = (system.people.authorizations[owner(each)] for each in (room, room + 1))
        path = f"/chatroom/{numbered(room)}/message"
        for exchange in (
            get("/chatroom", own),
            get(path, own),
            get("/search?q=1", own),
            Exchange(get(path, other).request, 404),
            Exchange(get(path).request, 401),
            Exchange(get("/nothing", own).request, 404),
            post(path, own, b'{"content": ""}', status=422),
            post(path, own, b"{", status=400),
        ):
            await lane.ask(exchange)
    lane.close()


async def _stream(system: System, rooms: range) -> None:
    """Post, and follow the reply on the answer to the post."""
    async with stream_lanes(system.port("gateway"), lanes=len(rooms)) as lanes:
        for lane, room in zip(lanes, rooms, strict=True):
            request = Conversation(room, 1).request(system, 0).request
            lane.open(request.replace(b"Accept: */*", b"Accept: text/event-stream", 1))
        for lane, room in zip(lanes, rooms, strict=True):
            text = "".join(pieces(await lane.ended(_WITHIN_S)))
            if not Conversation(room, 1).is_answered(0, text):
                raise VoidError(f"a stream tells something else: {text[:80]!r}")


async def _follow(system: System) -> None:
    """Follow feeds over both transports, and leave."""
    port, users = system.port("gateway"), system.people.authorizations[:MANY]
    ready = b"event: stream.ready\n"
    async with (
        stream_lanes(port, lanes=MANY, marker=ready) as streams,
        socket_lanes(port, lanes=MANY) as sockets,
    ):
        for stream, authorization in zip(streams, users, strict=True):
            stream.open(get("/event", authorization).request)
        await asyncio.gather(*(stream.begun(_WITHIN_S) for stream in streams))
        for socket, authorization in zip(sockets, users, strict=True):
            await socket.ask({"op": "auth", "token": authorization.removeprefix("Bearer ")})
            await socket.ask({"op": "subscribe"})
