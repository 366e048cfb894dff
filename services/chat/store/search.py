"""Full-text search."""

from uuid import UUID

from libs.common.db import Connection
from services.chat.models import HIT_END, HIT_START, Hit

_HEADLINE = f'StartSel="{HIT_START}", StopSel="{HIT_END}", MaxWords=30, MinWords=15, ShortWord=0'


async def list_hits(
    conn: Connection, *, user_id: UUID, words: str, before: UUID | None, limit: int
) -> list[Hit]:
    """Return the user's titles and messages that match, the newest first, at most `limit`.

    The owner is a word of what is looked up, so that the index itself yields only the owner's; the
    comparison of `user_id` does not rely on what the text parser makes of such a word. Extracts are
    made of the page's rows only.
    """
    rows = await conn.fetch(
        """
        SELECT kind, id, chatroom_id, chatroom_title, role, created_at,
            ts_headline('simple', translate(content, $5, ''),
                websearch_to_tsquery('simple', $2), $6) AS headline
        FROM (
            (
                SELECT 'message' AS kind, m.id, m.chatroom_id, room.title AS chatroom_title,
                    m.role, m.created_at, m.content
                FROM message m JOIN chatroom room ON room.id = m.chatroom_id
                WHERE m.search @@ (websearch_to_tsquery('simple', $2)
                        && ('''user:' || $1::uuid::text || '''')::tsquery)
                    AND numnode(websearch_to_tsquery('simple', $2)) > 0
                    AND m.user_id = $1 AND NOT room.hidden
                    AND ($3::uuid IS NULL OR m.id < $3)
                ORDER BY m.id DESC
                LIMIT $4
            ) UNION ALL (
                SELECT 'chatroom', room.id, room.id, room.title, NULL, room.created_at, room.title
                FROM chatroom room
                WHERE room.search @@ (websearch_to_tsquery('simple', $2)
                        && ('''user:' || $1::uuid::text || '''')::tsquery)
                    AND numnode(websearch_to_tsquery('simple', $2)) > 0
                    AND room.user_id = $1 AND NOT room.hidden
                    AND ($3::uuid IS NULL OR room.id < $3)
                ORDER BY room.id DESC
                LIMIT $4
            )
            ORDER BY id DESC
            LIMIT $4
        ) page
        ORDER BY id DESC
        """,
        user_id,
        words,
        before,
        limit,
        HIT_START + HIT_END,
        _HEADLINE,
    )
    return [Hit(**row) for row in rows]
