"""Chat's error codes."""

from libs.common.errors import (
    ConflictError,
    ForbiddenError,
    LimitReachedError,
    MalformedError,
    NotFoundError,
    UnavailableError,
)


class ChatroomNotFoundError(NotFoundError):
    """There is no such chatroom of yours."""

    code = "chatroom_not_found"


class MessageNotFoundError(NotFoundError):
    """There is no such message in this chatroom."""

    code = "message_not_found"


class DailyLimitReachedError(LimitReachedError):
    """Your plan's messages for today are used up."""

    code = "daily_limit_reached"


class MonthlyLimitReachedError(LimitReachedError):
    """Your plan's messages for this month are used up."""

    code = "monthly_limit_reached"


class TokenLimitReachedError(LimitReachedError):
    """Your plan's tokens do not cover another reply."""

    code = "token_limit_reached"


class TooManyRepliesError(LimitReachedError):
    """So many replies of yours are open already as your plan allows."""

    code = "too_many_replies"


class BadCursorError(MalformedError):
    """The cursor is not one that this list gave out."""

    code = "bad_cursor"


class ModelNotInPlanError(ForbiddenError):
    """Your plan does not let you choose this model."""

    code = "model_not_in_plan"


class ReplyInProgressError(ConflictError):
    """The chatroom is not free to change its branch while a reply is open."""

    code = "reply_in_progress"


class ReducedCapacityError(UnavailableError):
    """So many messages wait to be answered that your plan has to wait."""

    code = "reduced_capacity"

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(
            "so many messages wait to be answered that nothing was stored of yours; "
            f"send it again in {retry_after_s} s",
            extra={
                "type": "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
                "retry_after": retry_after_s,
            },
            headers={"Retry-After": str(retry_after_s)},
        )
