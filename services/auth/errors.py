"""What auth refuses, and why."""

from libs.common.errors import ConflictError, LimitReachedError, NotFoundError, UnauthenticatedError


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


class UserNotFoundError(NotFoundError):
    """The account does not exist any more."""

    code = "user_not_found"

    def __init__(self) -> None:
        super().__init__("this account does not exist any more; sign up at /auth/signup")


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
