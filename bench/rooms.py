"""Rooms that are full already, and what the pages of one have to hold."""

from typing import TYPE_CHECKING
from uuid import UUID

from bench.people import numbered

if TYPE_CHECKING:
    import asyncpg

_FILL = """
INSERT INTO chat.message (chatroom_id, id, user_id, role, status, reply_to, parent_id, content,
    attempt, created_at, announced_at, ended_at)
SELECT room.id, at.id, room.user_id, said.role, 'completed',
    CASE said.role WHEN 'assistant' THEN before.id END, before.id, said.role || ' ' || n,
    said.attempt, now(), now(), now()
FROM chat.chatroom room
CROSS JOIN generate_series(0, $3::int - 1) n
CROSS JOIN LATERAL (
    SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid AS id
) at
CROSS JOIN LATERAL (
    SELECT CASE WHEN n > 0 THEN
        ('00000000-0000-7000-8000-' || lpad((n - 1)::text, 12, '0'))::uuid
    END AS id
) before
CROSS JOIN LATERAL (
    SELECT CASE n % 2 WHEN 0 THEN 'user' ELSE 'assistant' END AS role, n % 2 AS attempt
) said
WHERE room.id BETWEEN $1 AND $2
"""
_SUMMARISE = """
UPDATE chat.chatroom SET last_message_id = $3, leaf_id = $3, title_source = 'user',
    summary = CASE WHEN $4::uuid IS NULL THEN '' ELSE 'A long talk.' END,
    summary_until = $4, summary_asked_until = $4
WHERE id BETWEEN $1 AND $2
"""
_CLOSE = """
WITH ended AS (
    UPDATE chat.message SET status = 'completed', attempt = 1, content = 'Yes.', ended_at = now()
    WHERE chatroom_id = $1 AND status = 'queued'
)
UPDATE chat.chatroom SET open_reply_id = NULL WHERE id = $1
"""


async def fill(
    admin: "asyncpg.Connection[asyncpg.Record]", rooms: range, messages: int, *, recent: int
) -> None:
    """Give each room messages and replies in turn, with the ids `numbered(0)`, `numbered(1)`...

    All but the `recent` ones are told by a summary, as in a room that got so long by itself.
    """
    first, last = numbered(rooms.start), numbered(rooms.stop - 1)
    await admin.execute(_FILL, first, last, messages)
    until = numbered(messages - recent - 1) if messages > recent else None
    await admin.execute(_SUMMARISE, first, last, numbered(messages - 1), until)


async def close_reply(admin: "asyncpg.Connection[asyncpg.Record]", room: int) -> None:
    """End the room's open reply, as ai and chat would."""
    await admin.execute(_CLOSE, numbered(room))


def expected_page(before: int, limit: int) -> list[UUID]:
    """Return the ids on the page of what `fill` stored that lies before message `before`."""
    return [numbered(message) for message in range(before - 1, max(-1, before - 1 - limit), -1)]
