"""What a caller's role allows, for services that know no more of it than the token says.

So a role that was taken counts here until the token ends; auth itself looks it up.
"""

from typing import Literal

from libs.common.errors import ForbiddenError
from libs.common.identity import Identity

_RISING = ("user", "support", "admin")


class RoleMissingError(ForbiddenError):
    """Your role, or the way you logged in, does not allow this."""

    code = "role_missing"

    def __init__(self, needed: str) -> None:
        super().__init__(f"this takes the role {needed}, and a login with your second factor")


def ensure_role(caller: Identity, needed: Literal["support", "admin"]) -> None:
    """Refuse a caller who may do less than that.

    Raises:
        RoleMissingError: they may not, or not in a login that did not pass the second factor.
    """
    known = caller.role if caller.role in _RISING else "user"
    if _RISING.index(known) < _RISING.index(needed):
        raise RoleMissingError(needed)
