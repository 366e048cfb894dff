"""Another phone number or e-mail address, over HTTP."""

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from libs.common.errors import AccountRequiredError
from libs.common.etags import entity_tag
from libs.common.http import CurrentUser
from libs.common.problems import problems
from services.auth.actions import identifiers
from services.auth.api.codes import SentOtpOut
from services.auth.api.parameters import (
    CODE_REFUSALS,
    SEND_REFUSALS,
    Address,
    IdentifierIn,
    Language,
    Res,
    UserOut,
)
from services.auth.errors import IdentifierTakenError, IdentifierUnchangedError, UserNotFoundError
from services.auth.models import Identifier, SentCode

router = APIRouter(prefix="/user/me/identifier", tags=["user"])


class NewIdentifierIn(IdentifierIn):
    """The new identifier, with both codes.

    Attributes:
        otp: the code that was sent to the new one.
        present_otp: the code that was sent to the one that it replaces.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"email": "ada@example.com", "otp": "123456", "present_otp": "654321"}]
        }
    )

    otp: str = Field(pattern="^[0-9]{6}$")
    present_otp: str = Field(pattern="^[0-9]{6}$")


class SentCodesOut(BaseModel):
    """Two codes are on their way; send both to `PUT /user/me/identifier`."""

    status: Literal["codes_required"] = "codes_required"
    new: SentOtpOut
    present: SentOtpOut


def _sent(identifier: Identifier, sent: SentCode) -> SentOtpOut:
    return SentOtpOut(
        channel=identifier.channel,
        expires_in=sent.expires_in,
        resend_in=sent.resend_in,
        otp=sent.otp,
    )


@router.post(
    "",
    status_code=202,
    response_model_exclude_none=True,
    responses=problems(
        UserNotFoundError, AccountRequiredError, IdentifierUnchangedError, *SEND_REFUSALS
    ),
)
async def send_codes(
    body: IdentifierIn, caller: CurrentUser, res: Res, address: Address, language: Language
) -> SentCodesOut:
    """Ask for another phone number or e-mail address: a code goes to it, and one to the present.

    The limits are those of `/auth/send-otp`. Whether somebody has it already is not told here.
    """
    identifier = body.identifier()
    present, new_code, present_code = await identifiers.send_codes(
        res, caller.user_id, identifier, address=address, language=language
    )
    return SentCodesOut(new=_sent(identifier, new_code), present=_sent(present, present_code))


@router.put(
    "",
    responses=problems(
        UserNotFoundError,
        AccountRequiredError,
        IdentifierUnchangedError,
        IdentifierTakenError,
        *CODE_REFUSALS,
    ),
)
async def change_identifier(
    body: NewIdentifierIn, caller: CurrentUser, res: Res, response: Response, address: Address
) -> UserOut:
    """Log in by another phone number or e-mail address from now on; who is logged in stays so."""
    user = await identifiers.change_identifier(
        res,
        caller.user_id,
        body.identifier(),
        otp=body.otp,
        present_otp=body.present_otp,
        address=address,
    )
    response.headers["etag"] = entity_tag(user.version)
    return UserOut.model_validate(user)
