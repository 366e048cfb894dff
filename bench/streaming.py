"""Live replies: how much later their first word comes, and what each word costs on its way.

A chat is `POST .../message` with `Accept: text/event-stream`: one request whose answer is the
reply's stream, the way with the fewest round trips, which a web client takes with `fetch`. The
reference for time is the emulated model asked directly; for CPU it is `bench.bare_relay`.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from bench import bare_relay
from bench.answering import SERVERS
from bench.client import connect, post
from bench.event_stream import StreamLane, pieces, stream_lanes
from bench.measures import (
    Figure,
    Outcome,
    Round,
    Sample,
    Tally,
    VoidError,
    interleaved,
    measure,
    was_quiet,
)
from bench.people import numbered, owner
from bench.plan import Plan
from bench.system import System

if TYPE_CHECKING:
    import asyncpg

CHATS = 20
"""Users at the same time, each with one reply on its way."""

STREAMS = 50
FIRST_TOKEN_MS = 300.0
TOKENS_PER_S = 40.0
CHAT_TOKENS = 40
_CHAT_S = FIRST_TOKEN_MS / 1000 + CHAT_TOKENS / TOKENS_PER_S
WINDOW_S = 3.0
"""For how long the CPU of streams is counted, while all of them flow."""

_LEAST_WINDOW_S = 0.2
_WITHIN_S = 60.0
_ON_PATH = ("ai", "valkey", "gateway")
_MODEL = "/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse"
_STORED = """
SELECT count(*), count(*) FILTER (WHERE content = $3 AND status = 'completed' AND attempt = 1)
FROM chat.message WHERE chatroom_id BETWEEN $1 AND $2 AND role = 'assistant'
"""


async def run(system: System, plan: Plan) -> Outcome:
    """Measure the first word of chats, then the CPU of streams that flow side by side."""
    await system.require("auth", *SERVERS, "gemini", "chat", "ai", "gateway")
    await system.tidy()
    url, port = system.stack.valkey.url, system.free_port()
    await system.start(bare_relay.server(url=url, port=port, folder=system.home))
    sizes: list[float] = []
    async with system.model_paced(first_token_ms=FIRST_TOKEN_MS, chunk_ms=1000 / TOKENS_PER_S):
        for tokens in {CHAT_TOKENS, plan.stream_tokens}:
            await _order(system, tokens)
        rounds = await interleaved(
            {
                "chats": partial(_chats, system, plan),
                "model": partial(_model, system, plan),
                "streams": partial(_streams, system, plan, sizes),
                "bare relay": partial(_bare, system, plan),
            },
            plan.rounds,
        )
    pace = f"{FIRST_TOKEN_MS:g} ms to the first token, then {TOKENS_PER_S:g} a second, one a chunk"
    return Outcome(
        rounds=rounds,
        figures=_figures(rounds, sizes[-len(rounds) :]),
        counts={
            "streams compared": len(rounds) * (plan.chats + 2 * STREAMS),
            "lost": 0,
            "doubled": 0,
        },
        notes=[
            f"{CHATS} chats at the same time: POST with Accept: text/event-stream, then the next",
            f"the model takes {pace}; what it takes when asked directly is from the same round",
            f"CPU of {STREAMS} streams: {', '.join(_ON_PATH)}, while all flow; a token is a chunk",
        ],
    )


async def _chats(system: System, plan: Plan) -> Sample:
    """Time the first delta of each chat at the client."""
    admin = await system.connect()
    rooms = await system.people.move_in(admin, plan.chats, titled=True)
    requests = (_post(system, room, CHAT_TOKENS) for room in rooms)

    async def load() -> Tally:
        async with stream_lanes(system.port("gateway"), lanes=CHATS) as lanes:
            return await _in_turn(lanes, requests, CHAT_TOKENS)

    sample = await measure(load, system.pids(*_ON_PATH, "gemini"))
    await _ensure_stored(admin, rooms, CHAT_TOKENS)
    await admin.close()
    return sample


async def _model(system: System, plan: Plan) -> Sample:
    """Time the first chunk of the model that is asked the same, just as many at once."""
    turn = {"role": "user", "parts": [{"text": _content(CHAT_TOKENS)}]}
    body = json.dumps({"contents": [turn]}).encode()
    request = post(_MODEL + "&key=bench", "none", body, status=200).request
    requests = (request for _ in range(plan.chats))

    async def load() -> Tally:
        port = system.port("gemini")
        async with stream_lanes(port, lanes=CHATS, marker=b'"text"') as lanes:
            return await _in_turn(lanes, requests, None)

    return await measure(load, system.pids("gemini"))


async def _in_turn(lanes: list[StreamLane], requests: Iterator[bytes], tokens: int | None) -> Tally:
    """Send a request whenever a stream has ended; compare the replies, if they are ours."""
    firsts: list[float] = []

    async def chat(lane: StreamLane, begin_s: float) -> None:
        await asyncio.sleep(begin_s)
        for request in requests:
            lane.open(request)
            body = await lane.ended(_WITHIN_S)
            if tokens is not None:
                _ensure_told(body, tokens)
            if lane.first_s is None:
                raise VoidError("a stream has no text")
            firsts.append(lane.first_s)

    started = time.perf_counter()
    # Twenty people do not write at the same instant again and again.
    begins = [number / len(lanes) * _CHAT_S for number in range(len(lanes))]
    await asyncio.gather(*map(chat, lanes, begins))
    return Tally(len(firsts), time.perf_counter() - started, firsts)


async def _streams(system: System, plan: Plan, sizes: list[float]) -> Sample:
    """Count the CPU of replies that flow side by side, and afterwards the bytes of each viewer."""
    admin = await system.connect()
    rooms = await system.people.move_in(admin, STREAMS, titled=True)
    tokens = plan.stream_tokens
    async with stream_lanes(system.port("gateway"), lanes=STREAMS) as lanes:
        for lane, room in zip(lanes, rooms, strict=True):
            lane.open(_post(system, room, tokens))
        sample = await _flowing(lanes, system.pids(*_ON_PATH, "gemini"), _told)
        bodies = [await lane.ended(_WITHIN_S) for lane in lanes]
    for body in bodies:
        _ensure_told(body, tokens)
    sizes.append(sum(lane.received for lane in lanes) / STREAMS / len(_text(tokens)))
    await _ensure_stored(admin, rooms, tokens)
    await admin.close()
    return sample


async def _bare(system: System, plan: Plan) -> Sample:
    """Count the CPU of the bare relay with as many streams of the same tokens."""
    # They begin together at once, so they need not be long for all of them to flow.
    tokens = min(plan.stream_tokens, int(TOKENS_PER_S * (WINDOW_S + 1)))
    url = system.stack.valkey.url
    port = system.port("bare-server")
    async with stream_lanes(port, lanes=STREAMS, marker=bare_relay.DATA) as lanes:
        for number, lane in enumerate(lanes):
            lane.open(f"GET /{bare_relay.channel(number)} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        await asyncio.gather(*(lane.has(bare_relay.READY, _WITHIN_S) for lane in lanes))
        writer = bare_relay.writer(
            url=url, streams=STREAMS, tokens=tokens, per_s=TOKENS_PER_S, folder=system.home
        )
        await system.start(writer, lambda _: True)
        pids = system.pids("bare-writer", "valkey", "bare-server")
        sample = await _flowing(lanes, pids, bare_relay.count)
        last = bare_relay.token(tokens - 1).encode()
        await asyncio.gather(*(lane.has(last + b"\n\n", _WITHIN_S) for lane in lanes))
        for lane in lanes:
            if bare_relay.count(lane.body) != tokens:
                raise VoidError("a token of the bare relay is lost")
        await system.end("bare-writer")
    return sample


async def _flowing(
    lanes: list[StreamLane], pids: dict[str, int], count: Callable[[bytearray], int]
) -> Sample:
    """Measure while every stream flows: from the last one's first piece to the first one's end."""
    await asyncio.gather(*(lane.begun(_WITHIN_S) for lane in lanes))
    ends = [asyncio.create_task(lane.ended(_WITHIN_S)) for lane in lanes]

    async def window() -> Tally:
        began = time.perf_counter()
        before = sum(count(lane.body) for lane in lanes)
        with suppress(TimeoutError):
            async with asyncio.timeout(WINDOW_S):
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        seconds = time.perf_counter() - began
        if seconds < _LEAST_WINDOW_S:
            raise VoidError(f"all streams flowed at the same time for {seconds:.1f} s only")
        return Tally(sum(count(lane.body) for lane in lanes) - before, seconds)

    try:
        return await measure(window, pids)
    finally:
        for end in ends:
            end.cancel()
        await asyncio.gather(*ends, return_exceptions=True)


async def _ensure_stored(
    admin: "asyncpg.Connection[asyncpg.Record]", rooms: range, tokens: int
) -> None:
    """Wait until chat has stored the replies, which it hears of after the viewers, and count them.

    Raises:
        VoidError: one is lost, doubled, or not what its viewer was told.
    """
    first, last = numbered(rooms.start), numbered(rooms.stop - 1)
    deadline, stored, right = time.monotonic() + _WITHIN_S, 0, 0
    while right < len(rooms) and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
        stored, right = await admin.fetchrow(_STORED, first, last, _text(tokens)) or (0, 0)
    if not stored == right == len(rooms):
        raise VoidError(f"{stored} replies are stored, {right} of them right, not {len(rooms)}")


async def _order(system: System, tokens: int) -> None:
    """Let the emulator answer `_content(tokens)` with that many tokens, in chunks of one."""
    fault = {"mode": "long", "chunks": tokens, "match": _content(tokens), "times": 100_000}
    lane = await connect(system.port("gemini"), lambda: None)
    await lane.ask(post("/_emulator/faults", "none", json.dumps(fault).encode(), status=201))
    lane.close()


def _post(system: System, room: int, tokens: int) -> bytes:
    body = json.dumps({"content": _content(tokens)}).encode()
    path, authorization = f"/chatroom/{numbered(room)}/message", system.people.authorizations
    exchange = post(path, authorization[owner(room)], body, status=200)
    accepts = b"Accept: text/event-stream\r\nAccept-Encoding: gzip"  # as every browser does
    return exchange.request.replace(b"Accept: */*", accepts, 1)


def _content(tokens: int) -> str:
    return f"say {tokens} tokens"


def _text(tokens: int) -> str:
    return "".join(map(bare_relay.token, range(tokens)))


def _told(body: bytearray) -> int:
    return len("".join(pieces(body)).split())


def _ensure_told(body: bytes, tokens: int) -> None:
    text = "".join(pieces(body))
    if text != _text(tokens) or body.count(b"event: generation.completed\n") != 1:
        raise VoidError(f"a stream tells something else: ...{text[-80:]!r}")


def _figures(rounds: list[Round], sizes: list[float]) -> list[Figure]:
    model_ms = [each["model"].p50_ms or 0 for each in rounds]
    firsts = [each["chats"] for each in rounds]
    p50 = [(each.p50_ms or 0) - own for each, own in zip(firsts, model_ms, strict=True)]
    p99 = [(each.p99_ms or 0) - own for each, own in zip(firsts, model_ms, strict=True)]
    quiet = was_quiet(rounds)
    # Microseconds for a token are milliseconds for a thousand.
    streams = [each["streams"].cpu_us for each in rounds]
    ours = [sum(each[name] for name in _ON_PATH) for each in streams]
    bare = [sum(each["bare relay"].cpu_us.values()) for each in rounds]
    ratio = [mine / other for mine, other in zip(ours, bare, strict=True)]
    return [
        Figure("first delta beyond the model's, p50", p50, "ms", at_most=15),
        Figure("first delta beyond the model's, p99", p99, "ms", at_most=60 if quiet else None),
        Figure("the model's own first token, p50", model_ms, "ms"),
        Figure("CPU of 1,000 tokens", ours, "ms", at_most=60),
        Figure("CPU of 1,000 tokens / bare relay's", ratio, "x", at_most=1.8),
        Figure("bare relay: CPU of 1,000 tokens", bare, "ms"),
        *(
            Figure(f"CPU of 1,000 tokens: {name}", [each[name] for each in streams], "ms")
            for name in streams[0]
        ),
        Figure("tokens streamed", [each["streams"].per_s for each in rounds], "/s"),
        Figure("bytes to a viewer / bytes of the reply", sizes, "x", at_most=1.5),
    ]
