"""Auth's part of a user's archive; the gateway puts the parts together."""

from fastapi import APIRouter, Response

from libs.common.exports import PATH, document
from libs.common.http import CurrentUser
from services.auth.actions import exports
from services.auth.api.parameters import Res

router = APIRouter(include_in_schema=False)


@router.get(PATH)
async def export_account(caller: CurrentUser, res: Res) -> Response:
    """Return what auth knows of the caller."""
    account = await exports.export_account(res, caller.user_id)
    return Response(document(account), media_type="application/json")
