import json
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve

from bench.measures import VoidError
from bench.web_socket import SocketLane, socket_lanes


async def answer(connection: ServerConnection) -> None:
    """Tell an event before each answer; refuse `no`, say nothing to `hush`, hang up on `bye`."""
    async for text in connection:
        op = json.loads(text)["op"]
        if op == "bye":
            return
        await connection.ping()
        await connection.send('{"op": "event"}')
        if op != "hush":
            await connection.send(json.dumps({"op": "error" if op == "no" else "ok"}))


@pytest.fixture
async def lane() -> AsyncIterator[SocketLane]:
    server: Server
    async with (
        serve(answer, "127.0.0.1", 0) as server,
        socket_lanes(next(iter(server.sockets)).getsockname()[1], lanes=1) as lanes,
    ):
        yield lanes[0]


async def test_a_frame_is_answered_whatever_else_comes(lane: SocketLane) -> None:
    await lane.ask({"op": "subscribe"})
    await lane.ask({"op": "subscribe"})

    assert [frame["op"] for frame in lane.frames] == ["event", "ok", "event", "ok"]
    assert lane.is_alive()


@pytest.mark.parametrize(
    ("op", "problem"), [("no", "refuses no"), ("hush", "does not answer hush"), ("bye", "was cut")]
)
async def test_a_frame_that_is_not_answered_with_ok_voids(
    op: str, problem: str, lane: SocketLane
) -> None:
    await lane.ask({"op": "auth"})

    with pytest.raises(VoidError, match=problem):
        await lane.ask({"op": op}, within_s=0.3)

    assert lane.is_alive() == (op != "bye")
