"""What auth refuses, and why."""

from libs.common.errors import (
    ConflictError,
    LimitReachedError,
    NotFoundError,
    UnauthenticatedError,
    UnavailableError,
    ValidationFailedError,
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


class ChannelUnavailableError(ValidationFailedError):
    """No codes are sent this way here."""

    code = "channel_unavailable"

    def __init__(self, channel: str) -> None:
        other = "an e-mail address" if channel == "sms" else "a phone number"
        super().__init__(f"this server sends no codes by {channel}; use {other}")


class CountryNotAllowedError(ValidationFailedError):
    """Numbers of this country get no codes here."""

    code = "country_not_allowed"

    def __init__(self) -> None:
        super().__init__(
            "this server sends no codes to numbers of this country; use a number of another one, "
            "or an e-mail address"
        )


class NumberRangeLimitError(LimitReachedError):
    """Too many codes went to numbers like this one, or too few of them came back."""

    code = "number_range_limit_reached"

    def __init__(self, *, retry_after_s: int) -> None:
        super().__init__(
            "too many codes went to numbers that begin like this one; use an e-mail address, or "
            f"wait {retry_after_s} seconds",
            headers={"Retry-After": str(retry_after_s)},
        )


class SendBudgetExhaustedError(UnavailableError):
    """This server has sent as many codes as it may for now."""

    code = "send_budget_exhausted"

    def __init__(self, *, retry_after_s: int) -> None:
        super().__init__(
            f"no more codes are sent for now; use the last one or wait {retry_after_s} seconds",
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


class NotAGuestError(ConflictError):
    """You are no guest."""

    code = "not_a_guest"

    def __init__(self) -> None:
        super().__init__(
            "you have an account already; change what it is known by at /user/me/identifier"
        )


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

    def __init__(
        self, detail: str = "this account does not exist any more; sign up at /auth/signup"
    ) -> None:
        super().__init__(detail)


class IdentifierUnchangedError(ConflictError):
    """The account is known by this phone number or e-mail address already."""

    code = "identifier_unchanged"

    def __init__(self) -> None:
        super().__init__("you log in by this one already; send another, or leave it as it is")


class IdentifierTakenError(ConflictError):
    """Another account is known by this phone number or e-mail address."""

    code = "identifier_taken"

    def __init__(self) -> None:
        super().__init__(
            "you have another account with it: log in there and delete that one first, or choose "
            "another phone number or e-mail address"
        )
