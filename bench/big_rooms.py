"""D1, D2, D3, D4: a room with half a million messages, next to rooms with ten.

Straight at chat, one request at a time. What is asked next is shuffled, so that a busy moment of
the machine hits all alike.
"""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias
from uuid import UUID

from bench.answering import SERVERS
from bench.client import Exchange, Lane, connect, get, post
from bench.measures import Figure, Outcome, Round, Tally, VoidError, measure, percentile_ms
from bench.people import numbered, owner
from bench.plan import Plan
from bench.rabbit import purge
from bench.rooms import close_reply, expected_page, fill
from bench.system import System
from deploy.local.terminal import say

if TYPE_CHECKING:
    import asyncpg

FEW = 10
"""Messages of a small room, and those of the big one that no summary tells."""

PAGE = 50
LARGEST = 100
"""Messages of a page at most."""

WALKED = 50
"""Pages of the big room that are read while somebody writes in it."""

SLACK_MS = 15.0
_QUEUE = "ai.chat.priority_message_posted.v1"
_OLDER = {"a quarter deep": 0.75, "half deep": 0.5, "the deepest page": 0.0}
_BETWEEN = """
SELECT id FROM chat.message WHERE chatroom_id = $1 AND id BETWEEN $2 AND $3 ORDER BY id DESC
"""
_COUNT = "SELECT count(*) FROM chat.message WHERE chatroom_id = $1"
Ask: TypeAlias = Callable[[], Awaitable[float]]
"""Asks for something, checks the answer, and returns the seconds that it took."""


@dataclass(frozen=True, slots=True)
class _Client:
    """Asks chat, as the owner of each room.

    Attributes:
        big: the big room, as it was filled with `messages`.
    """

    system: System
    lane: Lane
    admin: "asyncpg.Connection[asyncpg.Record]"
    big: int
    messages: int

    async def page(self, room: int, limit: int, before: int, expected: list[UUID]) -> float:
        """Read the page before message `before`."""
        request = self._get(room, f"limit={limit}&before={numbered(before)}")
        started = time.perf_counter()
        body = await self.lane.ask(request)
        taken = time.perf_counter() - started
        if _ids(body) != expected:
            raise VoidError(f"the page before message {before} of a room holds something else")
        return taken

    async def write(self, room: int) -> float:
        """Post, and end the reply, which nobody writes, when the clock has stopped."""
        started = time.perf_counter()
        await self.post(room)
        taken = time.perf_counter() - started
        await close_reply(self.admin, room)
        return taken

    async def post(self, room: int) -> None:
        """Post and go on."""
        body, path = json.dumps({"content": "Is it so?"}).encode(), _path(room)
        authorization = self.system.people.authorizations[owner(room)]
        await self.lane.ask(post(path, authorization, body, status=202))

    async def walk(self, pages: int) -> list[UUID]:
        """Read the big room from its newest message on, page by page."""
        seen: list[UUID] = []
        while pages:
            place = f"&before={seen[-1]}" if seen else ""
            seen += _ids(await self.lane.ask(self._get(self.big, f"limit={LARGEST}{place}")))
            pages -= 1
        return seen

    async def ensure_bounded(self) -> None:
        """Ask for a page that is too large (D2)."""
        await self.lane.ask(replace(self._get(self.big, f"limit={LARGEST + 1}"), status=422))

    def _get(self, room: int, query: str) -> Exchange:
        authorization = self.system.people.authorizations[owner(room)]
        return get(f"{_path(room)}?{query}", authorization)


async def run(system: System, plan: Plan) -> Outcome:
    """Measure pages and posts in rooms of both sizes, and read one while it grows."""
    await system.require("auth", *SERVERS, "chat")
    if system.runs("ai"):  # nobody may answer: each reply is ended by hand
        await system.end("ai")
    async with AsyncExitStack() as stack:
        admin = await system.connect()
        stack.push_async_callback(admin.close)
        (big,) = await system.people.move_in(admin, 1)
        small = await system.people.move_in(admin, plan.asked * (plan.rounds + 1))
        await fill(admin, range(big, big + 1), plan.big_room, recent=FEW)
        await fill(admin, small, FEW, recent=FEW)
        await system.tidy()
        lane = await connect(system.port("chat"), lambda: None)
        stack.callback(lane.close)
        client = _Client(system, lane, admin, big, plan.big_room)
        rounds = []
        for number in range(plan.rounds + 1):
            fresh = small[number * plan.asked : (number + 1) * plan.asked]
            found = await _round(client, fresh)
            if number:
                rounds.append(found)
        await client.ensure_bounded()
        walked = await _walked(client, plan)
        expected = plan.big_room + 2 * (plan.asked * (plan.rounds + 1) + walked)
        stored = await admin.fetchval(_COUNT, numbered(big))
        if stored != expected:
            raise VoidError(f"the big room has {stored} messages, not {expected}")
    await purge(system.stack.rabbitmq.url, _QUEUE)
    return Outcome(
        rounds=rounds,
        figures=_figures(rounds),
        counts={
            "pages compared": sum(sample.operations for each in rounds for sample in each.values()),
            "posts while the pages were read": walked,
            "skipped": 0,
            "shown twice": 0,
        },
        notes=[
            f"{plan.big_room:,} messages in the big room, {FEW} in a small one",
            f"in both the model gets the last {FEW}; a summary tells it the others",
            f"{plan.asked} of each in every round, one at a time, straight at chat; medians",
        ],
    )


async def _round(client: _Client, small: range) -> Round:
    """Time pages of both sizes of rooms, then posts."""
    room, size = client.big, client.messages
    asks: dict[str, list[Ask]] = {
        "list small": [
            partial(client.page, each, FEW, FEW, expected_page(FEW, FEW)) for each in small
        ],
        "list big": [partial(client.page, room, FEW, size, expected_page(size, FEW))] * len(small),
        "the first page": _pages(client, size) * len(small),
    }
    for name, older in _OLDER.items():
        asks[name] = _pages(client, max(int(size * older), PAGE)) * len(small)
    lists = await _timed(client, asks)
    posts = await _timed(
        client,
        {
            "post small": [partial(client.write, each) for each in small],
            "post big": [partial(client.write, room)] * len(small),
        },
    )
    found = lists | posts
    say(
        "    " + ", ".join(f"{name} {each.p50_ms:.2f} ms" for name, each in found.items()),
        mood="quiet",
    )
    return found


def _pages(client: _Client, before: int) -> list[Ask]:
    return [partial(client.page, client.big, PAGE, before, expected_page(before, PAGE))]


async def _timed(client: _Client, asks: Mapping[str, list[Ask]]) -> Round:
    """Ask everything in a random order, and return what each kind took."""
    order = [(name, ask) for name, of_kind in asks.items() for ask in of_kind]
    random.Random(len(order)).shuffle(order)  # noqa: S311 - no secret
    taken: dict[str, list[float]] = {name: [] for name in asks}

    async def load() -> Tally:
        started = time.perf_counter()
        for name, ask in order:
            taken[name].append(await ask())
        return Tally(len(order), time.perf_counter() - started)

    whole = await measure(load, client.system.pids("chat", "postgres"))
    return {
        name: replace(
            whole,
            operations=len(times),
            per_s=len(times) / sum(times),
            p50_ms=percentile_ms(times, 0.5),
            p99_ms=percentile_ms(times, 0.99),
        )
        for name, times in taken.items()
    }


async def _walked(client: _Client, plan: Plan) -> int:
    """Read pages of the big room while somebody writes in it (D4); return how often they wrote.

    Raises:
        VoidError: a message is skipped, shown twice or out of order.
    """
    lane = await connect(client.system.port("chat"), lambda: None)
    writer, read = replace(client, lane=lane), asyncio.Event()

    async def write() -> int:
        posted = 0
        while not read.is_set():
            await writer.post(client.big)
            posted += 1
        return posted

    writing = asyncio.create_task(write())
    seen = await client.walk(min(WALKED, plan.big_room // LARGEST))
    read.set()
    posted = await writing
    lane.close()
    stored = await client.admin.fetch(_BETWEEN, numbered(client.big), seen[-1], seen[0])
    ensure_stable(seen, [row["id"] for row in stored])
    return posted


def ensure_stable(seen: list[UUID], stored: list[UUID]) -> None:
    """Raise VoidError unless pages that were read one after the other show each message once."""
    if seen != stored:
        told = f"{len(set(seen))} of {len(stored)} messages"
        raise VoidError(f"{told} were shown, {len(seen)} in all, or in another order")


def _path(room: int) -> str:
    return f"/chatroom/{numbered(room)}/message"


def _ids(body: bytes) -> list[UUID]:
    return [UUID(message["id"]) for message in json.loads(body)["data"]]


def _figures(rounds: list[Round]) -> list[Figure]:
    def p50(name: str) -> list[float]:
        return [each[name].p50_ms or 0 for each in rounds]

    def ratio(name: str, of: str) -> list[float]:
        return [mine / other for mine, other in zip(p50(name), p50(of), strict=True)]

    def share_of_allowed(name: str, of: str) -> list[float]:
        allowed = [max(2 * other, other + SLACK_MS) for other in p50(of)]
        return [mine / most for mine, most in zip(p50(name), allowed, strict=True)]

    listed = ratio("list big", "list small")
    posted = ratio("post big", "post small")
    deepest = share_of_allowed("the deepest page", "the first page")
    first = share_of_allowed("list big", "list small")
    return [
        Figure("list, big room / small room", listed, "x", at_most=1.1),
        Figure("post, big room / small room", posted, "x", at_most=1.1),
        *(
            Figure(f"{name} / the first", ratio(name, "the first page"), "x", at_most=1.2)
            for name in _OLDER
        ),
        Figure("D1: the deepest page / allowed", deepest, "x", at_most=1),
        Figure("D1: big room's list / allowed", first, "x", at_most=1),
        Figure("D3: post, big room / small room", posted, "x", at_most=3),
        *(Figure(f"{name}, p50", p50(name), "ms") for name in rounds[0]),
    ]
