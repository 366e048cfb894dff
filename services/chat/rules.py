"""Chat's decisions: pure functions, no I/O, no clock."""

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from uuid import UUID

from libs.common.errors import IdempotencyKeyReusedError, ThoughtflowError
from services.chat.errors import (
    BadCursorError,
    ChatroomNotFoundError,
    MessageNotFoundError,
    ModelNotInPlanError,
    ReplyInProgressError,
)
from services.chat.models import Chatroom, Outcome

_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR_BYTES = 24  # microseconds since 1970, then the id


_REFUSALS: dict[Outcome, tuple[type[ThoughtflowError], str]] = {
    "no_room": (ChatroomNotFoundError, "you have no such chatroom; see GET /chatroom"),
    "no_message": (MessageNotFoundError, "there is no such message in this chatroom"),
    "reply_in_progress": (
        ReplyInProgressError,
        "a reply is still being written here; wait for it or stop it: POST /chatroom/{id}/stop",
    ),
    "no_model": (ModelNotInPlanError, "your plan does not include this model; see GET /model"),
    "key_reused": (
        IdempotencyKeyReusedError,
        "this Idempotency-Key or client_message_id was used for another request; use a new one",
    ),
}


def refusal(outcome: Outcome) -> ThoughtflowError | None:
    """Return why a message is not sent or shown; None if it is, or a limit forbids it."""
    error, detail = _REFUSALS.get(outcome, (None, ""))
    return error(detail) if error else None


def room_cursor(room: Chatroom) -> str:
    """Return the opaque place behind `room` in a list by activity."""
    microseconds = (room.active_at - _EPOCH) // _MICROSECOND
    return base64.urlsafe_b64encode(microseconds.to_bytes(8, "big") + room.id.bytes).decode()


def parse_room_cursor(cursor: str) -> tuple[datetime, UUID]:
    """Return activity and id of the room that `cursor` lies behind.

    Raises:
        BadCursorError: `room_cursor` did not make it.
    """
    try:
        raw = base64.b64decode(cursor, altchars=b"-_", validate=True)
        if len(raw) != _CURSOR_BYTES:
            raise BadCursorError("start again without a cursor")
        microseconds = int.from_bytes(raw[:8], "big")
        return _EPOCH + microseconds * _MICROSECOND, UUID(bytes=raw[8:])
    except (binascii.Error, ValueError, OverflowError) as exc:
        raise BadCursorError("start again without a cursor") from exc


def split_marks(
    marked: str, *, start: str, end: str, before: int, length: int
) -> tuple[str, list[tuple[int, int]]]:
    """Return a text without its marks, and where they were: ranges [first, behind the last).

    Args:
        marked: a text in which `start` and `end` stand around what was found.
        start: one character that stands nowhere else.
        end: another one.
        before: a text that is too long begins that many characters before the first range.
        length: what is returned has at most that many characters (code points).
    """
    text, ranges = "", []
    for piece in marked.split(start):
        found, closed, rest = piece.partition(end)
        if closed and found:
            ranges.append((len(text), len(text) + len(found)))
        text += found + rest
    if len(text) <= length:
        return text, ranges
    first = max(0, min(ranges[0][0] - before, len(text) - length)) if ranges else 0
    cut = [(max(a - first, 0), min(b - first, length)) for a, b in ranges]
    return text[first : first + length], [(a, b) for a, b in cut if a < b]


def fold_conversation(messages: Sequence[tuple[str, str]]) -> tuple[list[tuple[str, str]], str]:
    """Return the answered turns of an OpenAI conversation, and the question it ends with.

    Neighbours of one role become one message. There is no turn for instructions, so those of the
    role `system` stand in front of the question: earlier turns may fall out of the prompt, it not.

    Args:
        messages: (role, content); the first and the last that are not `system` are the `user`'s.
    """
    instructions = [content for role, content in messages if role == "system"]
    said = [(role, content) for role, content in messages if role != "system"]
    merged = [
        "\n\n".join(content for _, content in neighbours)
        for _, neighbours in groupby(said, key=itemgetter(0))
    ]
    turns = list(zip(merged[:-1:2], merged[1::2], strict=True))
    return turns, "\n\n".join([*instructions, merged[-1]])
