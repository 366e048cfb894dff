"""What the gateway itself answers when it does not forward, or cannot."""

from libs.common.errors import (
    LimitReachedError,
    ThoughtflowError,
    UnauthenticatedError,
    UnavailableError,
    UpstreamError,
)


class ServiceUnavailableError(UnavailableError):
    """The service for this path takes no requests right now."""

    code = "service_unavailable"


class BrokenAnswerError(UpstreamError):
    """The service for this path gave no usable answer."""

    code = "broken_answer"


class GatewayTimeoutError(ThoughtflowError):
    """The service for this path did not answer in time."""

    status = 504
    code = "gateway_timeout"
    transient = True


class RateLimitedError(LimitReachedError):
    """Too many requests in a short time."""

    code = "rate_limited"


class SessionRevokedError(UnauthenticatedError):
    """The login that this token came from has ended."""

    code = "session_revoked"

    def __init__(self) -> None:
        super().__init__("this login has ended; log in again")


class TooManyStreamsError(LimitReachedError):
    """You follow as much as you may at the same time."""

    code = "too_many_streams"
