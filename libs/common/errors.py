"""Errors with a stable code; `libs.common.http` maps them to HTTP, `libs.common.broker` to acks."""

from collections.abc import Mapping
from typing import Any, ClassVar


class ThoughtflowError(Exception):
    """Something went wrong inside the server.

    Attributes:
        status: HTTP status the API answers with.
        code: stable snake_case name that clients may match on; never reworded.
        transient: true if the same call may succeed later (a consumer then retries).
        patient: true if it is certain to, and only the time is not (a consumer never gives up).
        extra: further members of the problem document (RFC 9457, section 3.2).
        headers: headers of the HTTP answer, e.g. `Retry-After`.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    transient: ClassVar[bool] = False
    patient: ClassVar[bool] = False

    def __init__(
        self,
        detail: str,
        *,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})

    def problem(self) -> dict[str, Any]:
        """Return the RFC 9457 document, without what only the edge knows (the request's id)."""
        return {
            "type": f"/problems/{self.code}",
            "title": self.title(),
            "status": self.status,
            "detail": str(self),
            "code": self.code,
            **self.extra,
        }

    @classmethod
    def title(cls) -> str:
        """Return the first line of the class's docstring: one sentence for people."""
        return (cls.__doc__ or cls.code).splitlines()[0].rstrip(".")


class MalformedError(ThoughtflowError):
    """The request cannot be read."""

    status = 400
    code = "malformed_request"


class UnauthenticatedError(ThoughtflowError):
    """The request carries no valid access token."""

    status = 401
    code = "unauthenticated"

    def __init__(
        self,
        detail: str,
        *,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            detail, extra=extra, headers={"WWW-Authenticate": "Bearer", **(headers or {})}
        )


class SessionRevokedError(UnauthenticatedError):
    """The login that this token came from has ended."""

    code = "session_revoked"

    def __init__(self) -> None:
        super().__init__("this login has ended; log in again")


class ApiKeyInvalidError(UnauthenticatedError):
    """The API key is unknown, or was deleted."""

    code = "api_key_invalid"

    def __init__(self) -> None:
        super().__init__("this API key is not valid; make another at POST /user/me/api-key")


class ApiKeyExpiredError(UnauthenticatedError):
    """The API key is too old."""

    code = "api_key_expired"

    def __init__(self) -> None:
        super().__init__("this API key has expired; make another at POST /user/me/api-key")


class ForbiddenError(ThoughtflowError):
    """The caller is known and may not do this."""

    status = 403
    code = "forbidden"


class AccountRequiredError(ForbiddenError):
    """Only users with a phone number or an e-mail address may do this."""

    code = "account_required"

    def __init__(self) -> None:
        super().__init__(
            "this is for users with a phone number or an e-mail address; guests get there by a "
            "code from /auth/send-otp, at /auth/upgrade"
        )


class LoginRequiredError(ForbiddenError):
    """No API key may do this."""

    code = "login_required"

    def __init__(self) -> None:
        super().__init__("no API key may do this; log in and send that access token")


class NotFoundError(ThoughtflowError):
    """The thing does not exist, or the caller may not know that it does."""

    status = 404
    code = "not_found"


class MethodNotAllowedError(ThoughtflowError):
    """The path exists, with other methods."""

    status = 405
    code = "method_not_allowed"


class ConflictError(ThoughtflowError):
    """The request does not fit the present state."""

    status = 409
    code = "conflict"


class PreconditionFailedError(ThoughtflowError):
    """The thing has changed since the caller read it."""

    status = 412
    code = "precondition_failed"


class PayloadTooLargeError(ThoughtflowError):
    """The request's body is larger than the server reads."""

    status = 413
    code = "payload_too_large"


class UnsupportedMediaError(ThoughtflowError):
    """The request's body is not plain JSON."""

    status = 415
    code = "unsupported_media_type"


class ValidationFailedError(ThoughtflowError):
    """A field of the request is missing, unknown or out of range."""

    status = 422
    code = "validation_failed"


class IdempotencyKeyReusedError(ValidationFailedError):
    """The Idempotency-Key was used before for another request."""

    code = "idempotency_key_reused"


class HeadersTooLargeError(ThoughtflowError):
    """The request's headers are larger than the server reads."""

    status = 431
    code = "headers_too_large"


class LimitReachedError(ThoughtflowError):
    """The caller used up an allowance."""

    status = 429
    code = "limit_reached"


class UpstreamError(ThoughtflowError):
    """A server behind this one gave no usable answer."""

    status = 502
    code = "bad_gateway"


class UnavailableError(ThoughtflowError):
    """A dependency does not answer; trying again later may help."""

    status = 503
    code = "unavailable"
    transient = True
