"""Many people at once, and what has to be true of all that they were promised."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

from libs.common.db import Connection
from libs.common.testing import eventually
from tests.e2e.person import ENDS, Person, View, logged_in
from tests.e2e.stack import Stack

PEOPLE = 10
ROOMS = 4
"""Rooms of each person; ai writes so many replies of one person at the same time."""

POSTS = 5
"""Messages that each room gets; with the two above, 200 replies."""

ALL = PEOPLE * ROOMS * POSTS
SETTLED_S = 60
"""Seconds after a recovery until every accepted message is answered."""


@dataclass
class Talk:
    """One room, what was posted there, and which replies were promised for it."""

    person: Person
    room: str
    prompts: list[str] = field(default_factory=list)
    replies: list[str] = field(default_factory=list)
    views: list[View] = field(default_factory=list)

    async def go_on(self, posts: int | None, enough: asyncio.Event) -> None:
        """Post so often, or until it is enough, and watch the replies."""
        async with asyncio.TaskGroup() as watching:
            while len(self.replies) != posts and not enough.is_set():
                prompt = f"Please count to {30 + len(self.replies) % POSTS}."
                reply = await self.person.post_until_accepted(self.room, prompt)
                self.prompts.append(prompt)
                self.replies.append(reply)
                self.views.append(View(f"/chatroom/{self.room}/message/{reply}/stream"))
                watching.create_task(self.views[-1].read_to_the_end(self.person))
                # People type, and not in step.
                await asyncio.sleep(random.random() / 2 if posts else random.uniform(2, 6))

    async def check(self) -> None:
        """Every accepted message has one answer, the right one, in the right place."""
        messages = await self.person.messages(self.room)
        assert [view.text for view in self.views] == [m["content"] for m in messages[1::2]]
        assert [(m["role"], m["status"]) for m in messages] == [
            ("user", "completed"),
            ("assistant", "completed"),
        ] * len(self.prompts)
        assert [m["content"] for m in messages[::2]] == self.prompts
        assert [m["id"] for m in messages[1::2]] == self.replies
        assert [m["content"] for m in messages[1::2]] == [
            ", ".join(str(n) for n in range(1, 31 + number % POSTS)) + "."
            for number in range(len(self.prompts))
        ]


class Crowd:
    """Everybody's talks of one test."""

    def __init__(self, stack: Stack, people: list[Person]) -> None:
        self.people = people
        self.talks: list[Talk] = []
        self._stack = stack
        self._tasks: list[asyncio.Task[None]] = []
        self._enough = asyncio.Event()
        self._cursors: list[str] = []

    async def start(self, posts: int | None = POSTS) -> None:
        """Begin to talk, each person in new rooms: so many posts in each, or one every 4 s."""
        for person in self.people:
            person.posted.clear()
        feeds = await asyncio.gather(*(person.feed(None) for person in self.people))
        self._cursors = [cursor for _, cursor in feeds]
        rooms = await asyncio.gather(
            *(person.room() for person in self.people for _ in range(ROOMS))
        )
        people = [person for person in self.people for _ in range(ROOMS)]
        self.talks = [Talk(person, room) for person, room in zip(people, rooms, strict=True)]
        self._tasks = [asyncio.create_task(talk.go_on(posts, self._enough)) for talk in self.talks]

    async def in_the_middle(self) -> int:
        """Wait until many are answered and some are being; return how many are open then."""

        async def middle() -> int:
            now = await self._stack.query(self._count)
            return now["open"] if now["ended"] >= len(self.talks) and now["running"] else 0

        return await eventually(middle, within_s=60)

    async def settle(self, within_s: float = SETTLED_S) -> None:
        """Wait until everything is posted and answered, and check all of it.

        Raises:
            AssertionError: an answer is missing, doubled, wrong or misplaced, or the ledger and the
                generations are not of the same replies.
        """
        self._enough.set()
        async with asyncio.timeout(within_s):
            await asyncio.gather(*self._tasks)

        async def all_ended() -> bool:
            return (await self._stack.query(self._count))["open"] == 0

        await eventually(all_ended, within_s=within_s)
        await self.check()

    async def check(self) -> None:
        """See that everything is there once: in chat, in ai, in the ledger and in the feeds."""
        await asyncio.gather(*(talk.check() for talk in self.talks))
        promised = {reply for talk in self.talks for reply in talk.replies}
        assert await self._stack.query(self._generations) == dict.fromkeys(promised, "completed")
        assert await self._stack.query(self._charges) == sorted(promised)
        feeds = await asyncio.gather(*map(Person.feed, self.people, self._cursors))
        told = Counter(
            event["reply_id"] for events, _ in feeds for event in events if event["type"] in ENDS
        )
        assert set(told.values()) <= {1}

    async def restarted(self) -> int:
        """Return how many replies were begun more than once."""
        return await self._stack.query(self._count_restarted)

    async def _count_restarted(self, conn: Connection) -> int:
        count: int = await conn.fetchval(
            "SELECT count(*) FROM ai.generation WHERE chatroom_id = ANY($1) AND attempt > 1",
            self._rooms,
        )
        return count

    @property
    def cuts(self) -> int:
        """How often a viewer lost a stream and came back."""
        return sum(view.cuts for talk in self.talks for view in talk.views)

    @property
    def _rooms(self) -> list[UUID]:
        return [UUID(talk.room) for talk in self.talks]

    async def _count(self, conn: Connection) -> dict[str, int]:
        row = await conn.fetchrow(
            """
            SELECT count(*) FILTER (WHERE status IN ('queued', 'running')) AS open,
                count(*) FILTER (WHERE status = 'running') AS running,
                count(*) FILTER (WHERE status = 'completed') AS ended
            FROM chat.message WHERE chatroom_id = ANY($1) AND role = 'assistant'
            """,
            self._rooms,
        )
        return dict(row or {})

    async def _generations(self, conn: Connection) -> dict[str, str]:
        rows = await conn.fetch(
            "SELECT id::text, status FROM ai.generation WHERE chatroom_id = ANY($1)", self._rooms
        )
        return {row["id"]: row["status"] for row in rows}

    async def _charges(self, conn: Connection) -> list[str]:
        rows = await conn.fetch(
            """
            SELECT subject_id::text AS reply FROM ai.usage_ledger
            WHERE chatroom_id = ANY($1) AND kind = 'reply' ORDER BY 1
            """,
            self._rooms,
        )
        return [row["reply"] for row in rows]


@asynccontextmanager
async def paying_people(stack: Stack) -> AsyncIterator[list[Person]]:
    """Log `PEOPLE` in, all of them on Pro."""
    async with AsyncExitStack() as clients:
        people = await asyncio.gather(
            *(clients.enter_async_context(logged_in(stack)) for _ in range(PEOPLE))
        )
        await asyncio.gather(*(person.pay(stack.url("stripe")) for person in people))
        yield people
