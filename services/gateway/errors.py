"""What the gateway itself answers when it does not forward, or cannot."""

from libs.common.errors import (
    LimitReachedError,
    ThoughtflowError,
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


class TooManyStreamsError(LimitReachedError):
    """You follow as much as you may at the same time."""

    code = "too_many_streams"
