"""Chat's part of a user's archive; the gateway puts the parts together."""

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from libs.common.exports import PATH
from libs.common.http import CurrentUser
from services.chat.actions import exports
from services.chat.api.parameters import Res

router = APIRouter(include_in_schema=False)


@router.get(PATH)
async def export_chat(caller: CurrentUser, res: Res) -> StreamingResponse:
    """Return what chat knows of the caller."""
    pieces = exports.export_chat(res, caller.user_id)
    return StreamingResponse(pieces, media_type="application/json")
