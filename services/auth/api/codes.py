"""Signing up and logging in by one-time code, over HTTP."""

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from libs.common.problems import problems
from libs.common.text import PlainText
from services.auth.access_models import Challenge
from services.auth.actions import accounts, codes
from services.auth.api.parameters import (
    CODE_REFUSALS,
    SEND_REFUSALS,
    Address,
    Device,
    IdentifierIn,
    Language,
    Res,
)
from services.auth.api.sessions import GrantOut
from services.auth.errors import AddressLimitError, ChannelUnavailableError, CountryNotAllowedError
from services.auth.models import Channel

router = APIRouter(prefix="/auth", tags=["auth"])


class SignUpIn(IdentifierIn):
    """A new user; `name` is shown back to them."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"email": "ada@example.com", "name": "Ada"}]}
    )

    name: Annotated[PlainText, Field(min_length=1, max_length=200)] | None = None


class VerifyOtpIn(IdentifierIn):
    """A code and whose it is."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"email": "ada@example.com", "otp": "123456"}]}
    )

    otp: str = Field(pattern="^[0-9]{6}$")


class SignedUpOut(BaseModel):
    """What to do next; the same whether the account is new or not."""

    status: Literal["code_required"] = "code_required"
    next: Literal["/auth/send-otp"] = "/auth/send-otp"


class SentOtpOut(BaseModel):
    """A code is on its way; seconds until it expires, and until it may be asked for again.

    Attributes:
        channel: how it travels.
        expires_in: seconds that it is accepted.
        resend_in: seconds until the next send is allowed, 0 for at once.
        otp: the code, with OTP_SENDER=mock only.
    """

    channel: Channel
    expires_in: int
    resend_in: int
    otp: str | None = None


class FactorRequiredOut(BaseModel):
    """The code was right, and a second factor is wanted: send both to `next`.

    Attributes:
        challenge: stands for this login; keep it secret.
        expires_in: seconds that it is accepted.
    """

    model_config = ConfigDict(from_attributes=True)

    status: Literal["factor_required"] = "factor_required"
    next: Literal["/auth/verify-factor"] = "/auth/verify-factor"
    challenge: str
    expires_in: int


@router.post(
    "/signup",
    status_code=201,
    responses=problems(AddressLimitError, ChannelUnavailableError, CountryNotAllowedError),
)
async def sign_up(body: SignUpIn, res: Res, address: Address) -> SignedUpOut:
    """Register a phone number or an e-mail address.

    Repeating it changes the name, and once a code has verified the account, nothing.
    """
    await accounts.sign_up(res, body.identifier(), name=body.name, address=address)
    return SignedUpOut()


@router.post(
    "/send-otp",
    status_code=202,
    response_model_exclude_none=True,
    responses=problems(*SEND_REFUSALS),
)
async def send_otp(
    body: IdentifierIn, res: Res, address: Address, language: Language
) -> SentOtpOut:
    """Send a one-time code of six digits; while one is live, the same again.

    At most 10 in 10 minutes, 30 seconds apart. `Accept-Language` chooses the words. With
    OTP_SENDER=mock the answer holds the code, nothing is sent, and no pause is needed.
    """
    identifier = body.identifier()
    sent = await codes.send_otp(res, identifier, address=address, language=language)
    return SentOtpOut(
        channel=identifier.channel,
        expires_in=sent.expires_in,
        resend_in=sent.resend_in,
        otp=sent.otp,
    )


@router.post("/verify-otp", responses=problems(*CODE_REFUSALS))
async def verify_otp(
    body: VerifyOtpIn, res: Res, address: Address, device: Device
) -> GrantOut | FactorRequiredOut:
    """Trade a one-time code for tokens.

    A code works once and stands five guesses; an identifier stands 20 wrong ones a day. Who has a
    second factor gets no tokens yet, but a challenge.
    """
    grant = await codes.verify_otp(
        res, body.identifier(), otp=body.otp, address=address, device=device
    )
    if isinstance(grant, Challenge):
        return FactorRequiredOut.model_validate(grant)
    return GrantOut.model_validate(grant)
