"""All of chat's SQL. One function is one statement; the caller owns the transaction."""

import json
from datetime import datetime
from uuid import UUID

from libs.common.db import Connection
from libs.common.events import SubscriptionChanged
from services.chat.models import Chatroom, Message, Posted, ReplyEnd


async def insert_chatroom(
    conn: Connection, room: Chatroom, *, user_id: UUID, idempotency_key: str | None
) -> Chatroom | None:
    """Store a new room; None if the user's key made one before."""
    row = await conn.fetchrow(
        """
        INSERT INTO chatroom (id, user_id, title, idempotency_key, created_at, active_at)
        VALUES ($1, $2, $3, $4, $5, $5)
        ON CONFLICT (user_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
        RETURNING id, title, created_at, active_at
        """,
        room.id,
        user_id,
        room.title,
        idempotency_key,
        room.created_at,
    )
    return Chatroom(**row) if row else None


async def find_chatroom_by_key(
    conn: Connection, *, user_id: UUID, idempotency_key: str
) -> Chatroom:
    """Return the room that the user's key made; it exists."""
    row = await conn.fetchrow(
        """
        SELECT id, title, created_at, active_at FROM chatroom
        WHERE user_id = $1 AND idempotency_key = $2
        """,
        user_id,
        idempotency_key,
    )
    return Chatroom(**row)  # type: ignore[arg-type] # it exists


async def list_chatrooms(
    conn: Connection, *, user_id: UUID, before: tuple[datetime, UUID] | None, limit: int
) -> list[Chatroom]:
    """Return the user's rooms, the most recently active first, at most `limit`."""
    rows = await conn.fetch(
        """
        SELECT id, title, created_at, active_at FROM chatroom
        WHERE user_id = $1 AND ($2::timestamptz IS NULL OR (active_at, id) < ($2, $3::uuid))
        ORDER BY active_at DESC, id DESC
        LIMIT $4
        """,
        user_id,
        before[0] if before else None,
        before[1] if before else None,
        limit,
    )
    return [Chatroom(**row) for row in rows]


async def owns_chatroom(conn: Connection, *, chatroom_id: UUID, user_id: UUID) -> bool:
    """Tell whether the room exists and is the user's."""
    owned: bool = await conn.fetchval(
        "SELECT EXISTS (SELECT FROM chatroom WHERE id = $1 AND user_id = $2)", chatroom_id, user_id
    )
    return owned


async def post_message(
    conn: Connection,
    *,
    user_id: UUID,
    chatroom_id: UUID,
    message_id: UUID,
    reply_id: UUID,
    event_id: UUID,
    content: str,
    idempotency_key: str | None,
    now: datetime,
    basic_allowance: int,
    traceparent: str | None,
) -> Posted:
    """Store a post, its pending reply, its unit of quota and its event, all or nothing.

    Locks the room and the user's quota until the statement's end.
    """
    row = await conn.fetchrow(
        """
        SELECT outcome, message_id, reply_id, created_at, allowance, used, last_id
        FROM post_message($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        """,
        user_id,
        chatroom_id,
        message_id,
        reply_id,
        event_id,
        content,
        idempotency_key,
        now,
        basic_allowance,
        traceparent,
    )
    return Posted(**row)  # type: ignore[arg-type] # a function with OUT parameters gives one row


async def list_messages(
    conn: Connection, *, chatroom_id: UUID, before: UUID | None, limit: int
) -> list[Message]:
    """Return the room's messages before the id `before`, newest first, at most `limit`."""
    rows = await conn.fetch(
        """
        SELECT id, chatroom_id, role, status, reply_to, content, problem, model, finish_reason,
            created_at, ended_at
        FROM message
        WHERE chatroom_id = $1 AND ($2::uuid IS NULL OR id < $2)
        ORDER BY id DESC
        LIMIT $3
        """,
        chatroom_id,
        before,
        limit,
    )
    return [_message(row) for row in rows]


async def find_message(
    conn: Connection, *, chatroom_id: UUID, message_id: UUID, user_id: UUID
) -> Message | None:
    """Return the message if it is in that room of that user."""
    row = await conn.fetchrow(
        """
        SELECT id, chatroom_id, role, status, reply_to, content, problem, model, finish_reason,
            created_at, ended_at
        FROM message
        WHERE chatroom_id = $1 AND id = $2 AND user_id = $3
        """,
        chatroom_id,
        message_id,
        user_id,
    )
    return _message(row) if row else None


def _message(row: object) -> Message:
    fields = dict(row)  # type: ignore[call-overload]
    if fields["problem"] is not None:
        fields["problem"] = json.loads(fields["problem"])
    return Message(**fields)


async def lock_chatroom(conn: Connection, chatroom_id: UUID) -> bool:
    """Lock the room until commit, as a post does; false if it is gone."""
    found = await conn.fetchval("SELECT true FROM chatroom WHERE id = $1 FOR UPDATE", chatroom_id)
    return found is not None


async def start_reply(
    conn: Connection, *, chatroom_id: UUID, reply_id: UUID, attempt: int, model: str
) -> None:
    """Mark an open reply as running, unless a later attempt did."""
    await conn.execute(
        """
        UPDATE message SET status = 'running', attempt = $3, model = $4
        WHERE chatroom_id = $1 AND id = $2 AND status IN ('queued', 'running') AND attempt < $3
        """,
        chatroom_id,
        reply_id,
        attempt,
        model,
    )


async def end_reply(conn: Connection, end: ReplyEnd, *, now: datetime) -> datetime | None:
    """Store how an open reply ended; return when it was asked for, None if it had ended before."""
    asked_at: datetime | None = await conn.fetchval(
        """
        UPDATE message SET status = $3, attempt = $4, content = $5, model = coalesce($6, model),
            finish_reason = $7, problem = $8::jsonb, ended_at = $9
        WHERE chatroom_id = $1 AND id = $2 AND status IN ('queued', 'running')
        RETURNING created_at
        """,
        end.chatroom_id,
        end.reply_id,
        end.status,
        end.attempt,
        end.content,
        end.model,
        end.finish_reason,
        json.dumps(end.problem) if end.problem else None,
        now,
    )
    return asked_at


async def give_back_quota(conn: Connection, *, user_id: UUID, used_at: datetime) -> None:
    """Return one unit of the UTC day of `used_at`, if that is the day still counted."""
    await conn.execute(
        """
        UPDATE quota SET used = used - 1
        WHERE user_id = $1 AND day = ($2::timestamptz AT TIME ZONE 'UTC')::date AND used > 0
        """,
        user_id,
        used_at,
    )


async def close_reply(conn: Connection, *, chatroom_id: UUID, reply_id: UUID) -> None:
    """Let the room's next reply have its turn."""
    await conn.execute(
        "UPDATE chatroom SET open_reply_id = NULL WHERE id = $1 AND open_reply_id = $2",
        chatroom_id,
        reply_id,
    )


async def announce_next_reply(
    conn: Connection, *, chatroom_id: UUID, event_id: UUID, now: datetime, traceparent: str | None
) -> bool:
    """Put `MessagePosted` of the room's oldest queued reply into the outbox; false if none."""
    announced: bool = await conn.fetchval(
        "SELECT announce_next_reply($1, $2, $3, $4)", chatroom_id, event_id, now, traceparent
    )
    return announced


async def list_overdue_replies(
    conn: Connection, *, announced_before: datetime, limit: int
) -> list[ReplyEnd]:
    """Return open replies announced before that instant, as timed out."""
    rows = await conn.fetch(
        """
        SELECT id AS reply_id, chatroom_id, user_id, 'failed' AS status, attempt
        FROM message
        WHERE status IN ('queued', 'running') AND announced_at < $1
        LIMIT $2
        """,
        announced_before,
        limit,
    )
    return [ReplyEnd(**row) for row in rows]


async def upsert_entitlement(conn: Connection, event: SubscriptionChanged) -> None:
    """Keep what the event grants, unless a newer version is known."""
    await conn.execute(
        """
        INSERT INTO entitlement AS e (user_id, version, plan, messages_per_day)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (user_id) DO UPDATE SET version = EXCLUDED.version, plan = EXCLUDED.plan,
            messages_per_day = EXCLUDED.messages_per_day
        WHERE e.version < EXCLUDED.version
        """,
        event.user_id,
        event.version,
        event.plan,
        event.entitlements.messages_per_day,
    )
