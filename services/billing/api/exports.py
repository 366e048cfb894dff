"""What billing knows of a user, for the gateway's archive."""

from fastapi import APIRouter, Response

from libs.common.exports import PATH
from libs.common.http import CurrentUser
from services.billing.actions import exports
from services.billing.api.parameters import Res

router = APIRouter(tags=["billing"])


@router.get(PATH, include_in_schema=False)
async def export_billing(user: CurrentUser, res: Res) -> Response:
    """Return what billing knows of the caller: a part of their archive."""
    return Response(await exports.export_billing(res, user.user_id), media_type="application/json")
