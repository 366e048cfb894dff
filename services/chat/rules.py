"""Chat's decisions: pure functions, no I/O, no clock."""

import base64
import binascii
from datetime import UTC, datetime, timedelta
from uuid import UUID

from libs.common.errors import IdempotencyKeyReusedError, ThoughtflowError
from services.chat.errors import (
    BadCursorError,
    ChatroomNotFoundError,
    DailyLimitReachedError,
    MessageNotFoundError,
    ModelNotInPlanError,
    ReplyInProgressError,
)
from services.chat.models import Chatroom, Outcome

_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR_BYTES = 24  # microseconds since 1970, then the id


def quota_resets_at(now: datetime) -> datetime:
    """Return the next 00:00 UTC after `now` (UTC): when the day's messages count anew."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def daily_limit_error(allowance: int, now: datetime) -> DailyLimitReachedError:
    """Return the refusal of a post by a user whose plan grants `allowance` messages a day."""
    resets_at = quota_resets_at(now)
    retry_after_s = max(1, int((resets_at - now).total_seconds()))
    return DailyLimitReachedError(
        f"your plan allows {allowance} messages a day; more from {resets_at:%H:%M} UTC, "
        "or at once with Pro: POST /subscribe/pro",
        extra={
            "limit": allowance,
            "resets_at": resets_at.isoformat(),
            "retry_after": retry_after_s,
            "upgrade_url": "/subscribe/pro",
        },
        headers={"Retry-After": str(retry_after_s)},
    )


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


def refusal(outcome: Outcome, *, allowance: int | None, now: datetime) -> ThoughtflowError | None:
    """Return why a message is not sent or shown; None if it is."""
    if outcome == "limit":
        return daily_limit_error(allowance or 0, now)
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
