"""What auth refuses about second factors, roles and bans, and why."""

from libs.common.errors import (
    ConflictError,
    LimitReachedError,
    NotFoundError,
    UnauthenticatedError,
)


class FactorInvalidError(UnauthenticatedError):
    """The code of the second factor is wrong, or was used before."""

    code = "factor_invalid"

    def __init__(self, *, attempts_left: int | None = None) -> None:
        super().__init__(
            "this code is not valid: wait for the next one, check your device's clock, or use a "
            "recovery code",
            extra={} if attempts_left is None else {"attempts_left": attempts_left},
        )


class FactorChallengeInvalidError(UnauthenticatedError):
    """The login that waited for a second factor is over."""

    code = "factor_challenge_invalid"

    def __init__(self) -> None:
        super().__init__("this login took too long or too many tries; begin at /auth/send-otp")


class FactorAttemptsExceededError(LimitReachedError):
    """Too many wrong codes of the second factor were tried."""

    code = "factor_attempts_exceeded"

    def __init__(self, *, retry_after_s: int) -> None:
        super().__init__(
            f"too many wrong codes of your second factor; wait {retry_after_s} seconds",
            headers={"Retry-After": str(retry_after_s)},
        )


class FactorExistsError(ConflictError):
    """You have a second factor."""

    code = "factor_exists"

    def __init__(self) -> None:
        super().__init__("you have a second factor; remove it before you add another")


class FactorNotFoundError(NotFoundError):
    """You have no second factor."""

    code = "factor_not_found"

    def __init__(self) -> None:
        super().__init__("you have no second factor; begin one at POST /user/me/factor")


class FactorNeededError(ConflictError):
    """Your role takes a second factor."""

    code = "factor_needed"

    def __init__(self) -> None:
        super().__init__("your role takes a second factor: have the role taken away first")


class FactorMissingError(ConflictError):
    """The user has no second factor."""

    code = "factor_missing"

    def __init__(self) -> None:
        super().__init__("a role takes a second factor: they add one at POST /user/me/factor first")


class OwnAccountError(ConflictError):
    """Nobody does this to themselves."""

    code = "own_account"

    def __init__(self) -> None:
        super().__init__("this is your own account; another admin has to do it")


class LastAdminError(ConflictError):
    """Nobody else is an admin."""

    code = "last_admin"

    def __init__(self) -> None:
        super().__init__("nobody else is an admin; make somebody one first")


class FactorUnavailableError(ConflictError):
    """A second factor goes with logging in by one-time code."""

    code = "factor_unavailable"

    def __init__(self) -> None:
        super().__init__(
            "you do not log in by one-time code, which a second factor goes with; a guest signs up "
            "first"
        )
