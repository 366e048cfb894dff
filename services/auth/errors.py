"""What auth refuses, and why."""

from libs.common.errors import (
    ConflictError,
    LimitReachedError,
    NotFoundError,
    UnauthenticatedError,
)


class OtpInvalidError(UnauthenticatedError):
    """The one-time code is not valid.

    One answer for a wrong code, an expired one and an identifier nobody signed up with, so that it
    tells nothing about who has an account.
    """

    code = "otp_invalid"

    def __init__(self, *, attempts_left: int) -> None:
        super().__init__(
            "this code is not valid: check its digits, ask for a new one at /auth/send-otp once it "
            "has expired, or sign up first at /auth/signup",
            extra={"attempts_left": attempts_left},
        )


class OtpAttemptsExceededError(LimitReachedError):
    """Too many wrong codes were tried."""

    code = "otp_attempts_exceeded"

    def __init__(self, *, retry_after_s: int) -> None:
        super().__init__(
            f"too many wrong codes; ask for a new one in {retry_after_s} seconds",
            headers={"Retry-After": str(retry_after_s)},
        )


class OtpCooldownError(LimitReachedError):
    """Too many codes were asked for."""

    code = "otp_cooldown"

    def __init__(self, *, retry_after_s: int) -> None:
        super().__init__(
            f"too many codes were asked for; use the last one or wait {retry_after_s} seconds",
            headers={"Retry-After": str(retry_after_s)},
        )


class AddressLimitError(LimitReachedError):
    """Too much came from this network."""

    code = "address_limit_reached"

    def __init__(self, *, retry_after_s: int) -> None:
        super().__init__(
            f"too many sign-ups, codes or wrong guesses from your network; wait {retry_after_s} "
            "seconds",
            headers={"Retry-After": str(retry_after_s)},
        )


class RefreshInvalidError(UnauthenticatedError):
    """The refresh token is unknown, expired or revoked."""

    code = "refresh_invalid"

    def __init__(self) -> None:
        super().__init__("this session has ended; log in again with a one-time code")


class RefreshReusedError(UnauthenticatedError):
    """The refresh token was used before."""

    code = "refresh_reused"

    def __init__(self) -> None:
        super().__init__(
            "this refresh token was replaced long ago, so its session was ended in case somebody "
            "copied it; log in again with a one-time code"
        )


class SessionNotFoundError(NotFoundError):
    """The login does not exist, or has ended."""

    code = "session_not_found"

    def __init__(self) -> None:
        super().__init__("you have no such login any more; GET /auth/session lists yours")


class ApiKeyExpiredError(UnauthenticatedError):
    """The API key is too old."""

    code = "api_key_expired"

    def __init__(self) -> None:
        super().__init__("this API key has expired; make another at POST /user/me/api-key")


class ApiKeyNotFoundError(NotFoundError):
    """The API key does not exist, or was deleted."""

    code = "api_key_not_found"

    def __init__(self) -> None:
        super().__init__("you have no such API key; GET /user/me/api-key lists yours")


class ApiKeyEndedError(ConflictError):
    """The API key was rotated before, or has expired."""

    code = "api_key_ended"

    def __init__(self) -> None:
        super().__init__(
            "this API key was rotated before, or has expired; rotate the one that replaced it, or "
            "make another"
        )


class TooManyApiKeysError(ConflictError):
    """You have as many API keys as you may."""

    code = "too_many_api_keys"

    def __init__(self, *, limit: int) -> None:
        super().__init__(f"you have {limit} API keys; delete one that you do not need")


class UserNotFoundError(NotFoundError):
    """The account does not exist any more."""

    code = "user_not_found"

    def __init__(self) -> None:
        super().__init__("this account does not exist any more; sign up at /auth/signup")
