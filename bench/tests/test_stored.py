"""What is stored is compared with what was said: each way to be wrong is found."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
import pytest

from bench.answering import Conversation, ensure_answered_once, ensure_untouched, until_answered
from bench.big_rooms import ensure_stable
from bench.measures import VoidError
from bench.people import People, numbered
from bench.rooms import expected_page, fill

if TYPE_CHECKING:
    Admin: TypeAlias = asyncpg.Connection[asyncpg.Record]

pytestmark = pytest.mark.integration

TURNS = 3


@pytest.fixture
async def admin(database_urls: dict[str, str], postgres_url: str) -> AsyncIterator["Admin"]:
    """The superuser in the services' emptied database."""
    connection = await asyncpg.connect(postgres_url.rpartition("/")[0] + "/thoughtflow")
    await connection.execute("TRUNCATE chat.chatroom, chat.message, ai.generation CASCADE")
    yield connection
    await connection.close()


@pytest.fixture
async def rooms(admin: "Admin") -> range:
    """Two rooms in which everything went well."""
    rooms = await People().move_in(admin, 2)
    await fill(admin, rooms, 2 * TURNS, recent=2 * TURNS)
    for room in rooms:
        for turn in range(TURNS):
            asked = Conversation(room, TURNS).says(turn)
            number = int(asked.split()[0])
            reply = f"{asked} = **{number + 1:,}**. Sums are easy."
            for at, content in ((2 * turn, asked), (2 * turn + 1, reply)):
                await admin.execute(
                    "UPDATE chat.message SET content = $3 WHERE chatroom_id = $1 AND id = $2",
                    numbered(room),
                    numbered(at),
                    content,
                )
            await admin.execute(
                """
                INSERT INTO ai.generation
                    (id, user_id, chatroom_id, status, attempt, worker, model, created_at)
                VALUES (uuidv7(), $1, $2, 'completed', 1, 1, 'test', now())
                """,
                numbered(0),
                numbered(room),
            )
    return rooms


async def test_rooms_in_which_all_went_well_pass(admin: "Admin", rooms: range) -> None:
    await until_answered(admin, rooms, 2 * TURNS, within_s=1)
    assert await ensure_answered_once(admin, rooms, turns=TURNS) == 1
    await ensure_untouched(admin, [rooms.stop])


SECOND = f"'{numbered(2)}'"
LAST = f"'{numbered(5)}'"


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (f"DELETE FROM chat.message WHERE id = {LAST}", "are stored as"),
        ("DELETE FROM chat.message", r"are stored as \[\]"),
        (f"UPDATE chat.message SET status = 'failed' WHERE id = {LAST}", "'failed'"),
        (f"UPDATE chat.message SET content = '1 + 1' WHERE id = {SECOND}", "out of order"),
        (f"UPDATE chat.message SET content = '2.' WHERE id = {LAST}", "another message's"),
        (
            "DELETE FROM ai.generation WHERE id = (SELECT max(id::text)::uuid FROM ai.generation)",
            "5 generations",
        ),
    ],
)
async def test_what_is_wrong_voids(admin: "Admin", rooms: range, damage: str, problem: str) -> None:
    await admin.execute(damage)

    with pytest.raises(VoidError, match=problem):
        await ensure_answered_once(admin, rooms, turns=TURNS)


async def test_a_reply_that_does_not_end_is_lost(admin: "Admin", rooms: range) -> None:
    await admin.execute(f"UPDATE chat.message SET ended_at = NULL WHERE id = {LAST}")

    with pytest.raises(VoidError, match="2 of 6 replies are lost"):
        await until_answered(admin, rooms, 2 * TURNS, within_s=0.2)


async def test_a_refused_post_that_is_stored_voids(admin: "Admin", rooms: range) -> None:
    with pytest.raises(VoidError, match="in 1 rooms"):
        await ensure_untouched(admin, [rooms.start, rooms.stop])


async def test_a_full_room_has_the_pages_that_are_expected(admin: "Admin") -> None:
    rooms = await People().move_in(admin, 1)

    await fill(admin, rooms, 7, recent=2)

    stored = await admin.fetch("SELECT id FROM chat.message ORDER BY id DESC")
    told = await admin.fetchrow("SELECT last_message_id, summary_until FROM chat.chatroom")
    assert [row["id"] for row in stored] == expected_page(7, 100)
    assert expected_page(4, 2) == [numbered(3), numbered(2)]
    assert told is not None
    assert tuple(told) == (numbered(6), numbered(4))


@pytest.mark.parametrize("seen", [[3, 1], [3, 2, 2, 1], [3, 2], [2, 3, 1]])
def test_pages_that_skip_repeat_or_disorder_void(seen: list[int]) -> None:
    with pytest.raises(VoidError, match="of 3 messages were shown"):
        ensure_stable([numbered(n) for n in seen], [numbered(n) for n in (3, 2, 1)])
