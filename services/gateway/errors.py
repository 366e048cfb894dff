"""What the gateway itself answers when it does not forward, or cannot."""

from typing import Any

from typing_extensions import override

from libs.common.errors import (
    ForbiddenError,
    LimitReachedError,
    ThoughtflowError,
    UnauthenticatedError,
    UnavailableError,
    UpstreamError,
)
from libs.common.identity import Scope


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


class ScopeMissingError(ForbiddenError):
    """The API key was not made for this."""

    code = "scope_missing"

    def __init__(self, needed: Scope) -> None:
        super().__init__(
            f"this API key lacks the scope {needed!r}; make one that has it",
            extra={"scope": needed},
        )


class CredentialRefusedError(UnauthenticatedError):
    """Auth refused an API key; its problem document is passed on as it is."""

    def __init__(self, document: dict[str, Any]) -> None:
        super().__init__(str(document.get("detail", "")))
        self._document = {name: document[name] for name in super().problem() if name in document}

    @override
    def problem(self) -> dict[str, Any]:
        return super().problem() | self._document
