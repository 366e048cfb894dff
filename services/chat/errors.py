"""Chat's error codes."""

from libs.common.errors import LimitReachedError, MalformedError, NotFoundError


class ChatroomNotFoundError(NotFoundError):
    """There is no such chatroom of yours."""

    code = "chatroom_not_found"


class MessageNotFoundError(NotFoundError):
    """There is no such message in this chatroom."""

    code = "message_not_found"


class DailyLimitReachedError(LimitReachedError):
    """Your plan's messages for today are used up."""

    code = "daily_limit_reached"


class BadCursorError(MalformedError):
    """The cursor is not one that this list gave out."""

    code = "bad_cursor"
