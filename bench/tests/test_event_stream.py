import asyncio
import zlib
from collections.abc import AsyncIterator

import pytest

from bench.event_stream import StreamLane, pieces, stream_lanes
from bench.measures import VoidError

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def delta(offset: int, text: str) -> bytes:
    data = f'{{"type":"message.delta","offset":{offset},"text":"{text}"}}'
    return f"event: message.delta\nid: 1-{offset}\ndata: {data}\n\n".encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def test_pieces_are_the_text_without_what_is_not_whole_yet() -> None:
    other = b'event: generation.started\ndata: {"text":"no"}\n\n: hb\n\n'

    assert list(pieces(other + delta(0, "a b") + delta(3, " c") + delta(5, "d")[:-2])) == [
        "a b",
        " c",
    ]


@pytest.mark.parametrize("second", [0, 2, 4])
def test_a_piece_that_is_missing_or_doubled_voids(second: int) -> None:
    with pytest.raises(VoidError, match=f"a piece begins at {second}, not at 3"):
        list(pieces(delta(0, "a b") + delta(second, " c")))


@pytest.fixture
async def lane() -> AsyncIterator[tuple[StreamLane, asyncio.StreamWriter]]:
    """A lane with the other end of its connection."""
    accepted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    server = await asyncio.start_server(lambda _, w: accepted.put_nowait(w), "127.0.0.1", 0)
    async with server, stream_lanes(server.sockets[0].getsockname()[1], lanes=1) as lanes:
        peer = await accepted.get()
        lanes[0].open(b"GET / HTTP/1.1\r\n\r\n")
        yield lanes[0], peer
        peer.close()


async def test_a_stream_gives_its_body_without_the_framing_and_when_its_first_piece_came(
    lane: tuple[StreamLane, asyncio.StreamWriter],
) -> None:
    stream, peer = lane
    peer.write(HEAD + chunk(b": hb\n\n"))
    await stream.has(b"hb", 5)
    before = stream.first_s

    peer.write(chunk(delta(0, "a")) + b"0\r\n\r\n")

    assert await stream.ended(5) == b": hb\n\n" + delta(0, "a")
    assert before is None
    assert stream.first_s is not None


async def test_a_stream_that_is_cut_voids(lane: tuple[StreamLane, asyncio.StreamWriter]) -> None:
    stream, peer = lane
    peer.write(HEAD + chunk(delta(0, "a")))
    peer.close()

    with pytest.raises(VoidError, match="cut"):
        await stream.ended(5)


async def test_a_stream_that_is_refused_voids(
    lane: tuple[StreamLane, asyncio.StreamWriter],
) -> None:
    stream, peer = lane
    peer.write(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 4\r\n\r\nslow")

    with pytest.raises(VoidError, match="refused: b'slow'"):
        await stream.ended(5)


async def test_a_stream_that_says_nothing_voids(
    lane: tuple[StreamLane, asyncio.StreamWriter],
) -> None:
    with pytest.raises(VoidError, match="silent"):
        await lane[0].begun(0.05)


async def test_a_packed_stream_is_read_part_by_part_and_counted_as_it_came(
    lane: tuple[StreamLane, asyncio.StreamWriter],
) -> None:
    stream, peer = lane
    gzip = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    parts = [gzip.compress(delta(0, "a")) + gzip.flush(zlib.Z_SYNC_FLUSH), gzip.flush()]

    peer.write(HEAD.replace(b"Transfer", b"Content-Encoding: gzip\r\nTransfer") + chunk(parts[0]))
    await stream.begun(5)
    peer.write(chunk(parts[1]) + b"0\r\n\r\n")

    assert await stream.ended(5) == delta(0, "a")
    assert stream.received == sum(map(len, parts))
