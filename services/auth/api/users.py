"""A user's own account over HTTP."""

from fastapi import APIRouter

from libs.common.http import CurrentUser
from services.auth.actions import accounts
from services.auth.api.parameters import Res, UserOut

router = APIRouter(prefix="/user", tags=["user"])


@router.get("/me")
async def read_me(caller: CurrentUser, res: Res) -> UserOut:
    """Return the user whose access token it is."""
    return UserOut.model_validate(await accounts.read_me(res, caller.user_id))
