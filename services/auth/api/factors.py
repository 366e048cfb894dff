"""Second factors over HTTP: a time-based code from an app beside the one that was sent."""

from typing import Annotated, Literal, Self

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from libs.common.http import Body, CurrentUser
from libs.common.problems import problems
from services.auth.access_errors import (
    FactorAttemptsExceededError,
    FactorChallengeInvalidError,
    FactorExistsError,
    FactorInvalidError,
    FactorNeededError,
    FactorNotFoundError,
    FactorUnavailableError,
)
from services.auth.actions import factors
from services.auth.actions.factors import Proof
from services.auth.api.parameters import Device, Res
from services.auth.api.sessions import GrantOut

router = APIRouter(tags=["auth"])

Code = Annotated[str, Field(pattern="^[0-9]{6}$")]


class CodeIn(Body):
    """What the app shows now."""

    code: Code


class ProofIn(Body):
    """Exactly one of the two.

    Attributes:
        code: what the app shows now; it works once.
        recovery_code: one of the ten that were shown when the factor was confirmed; it works once.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"code": "123456"}]})

    code: Code | None = None
    recovery_code: Annotated[str, Field(min_length=10, max_length=30)] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.code is None) == (self.recovery_code is None):
            raise PydanticCustomError("one_code", "send either code or recovery_code")
        return self

    def proof(self) -> Proof:
        """Return the one that was sent."""
        return Proof(self.code, self.recovery_code)


class VerifyFactorIn(ProofIn):
    """A login that `/auth/verify-otp` began, and the second factor."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"challenge": "c-5Yw0vGmQ", "code": "123456"}]}
    )

    challenge: str = Field(min_length=1, max_length=200)


class FactorOut(BaseModel):
    """A second factor that logging in asks for."""

    model_config = ConfigDict(from_attributes=True)

    kind: Literal["totp"] = "totp"
    created_at: AwareDatetime
    recovery_codes_left: int


class FactorList(BaseModel):
    """Your second factors: one, or none."""

    data: list[FactorOut]


class BegunFactorOut(BaseModel):
    """Show `uri` as a QR code or type `secret` into the app; neither is shown again.

    Attributes:
        status: send a code to `next`, or the factor does not count.
        secret: base32; six digits, 30 seconds, SHA-1, as apps expect.
        uri: the same for scanning, `otpauth://totp/...`.
    """

    status: Literal["code_required"] = "code_required"
    next: Literal["/user/me/factor/confirm"] = "/user/me/factor/confirm"
    secret: str
    uri: str


class RecoveryCodesOut(BaseModel):
    """Keep them where the device is not: each replaces it once, and they are not shown again."""

    recovery_codes: list[str]


@router.get("/user/me/factor")
async def list_factors(caller: CurrentUser, res: Res) -> FactorList:
    """List the second factors that logging in asks for."""
    found = await factors.list_factors(res, caller)
    return FactorList(data=[FactorOut.model_validate(each) for each in found])


@router.post(
    "/user/me/factor",
    status_code=201,
    responses=problems(FactorUnavailableError, FactorExistsError),
)
async def begin_factor(caller: CurrentUser, res: Res) -> BegunFactorOut:
    """Begin a second factor (TOTP, RFC 6238); until a code confirms it, nothing changes."""
    secret, uri = await factors.begin(res, caller)
    return BegunFactorOut(secret=secret, uri=uri)


@router.post(
    "/user/me/factor/confirm",
    responses=problems(FactorNotFoundError, FactorExistsError, FactorInvalidError),
)
async def confirm_factor(body: CodeIn, caller: CurrentUser, res: Res) -> RecoveryCodesOut:
    """Confirm it: logging in asks for it from now on. Other logins of yours go on as they are."""
    return RecoveryCodesOut(recovery_codes=await factors.confirm(res, caller, body.code))


@router.delete(
    "/user/me/factor",
    status_code=204,
    responses=problems(
        FactorNotFoundError, FactorNeededError, FactorAttemptsExceededError, FactorInvalidError
    ),
)
async def remove_factor(body: ProofIn, caller: CurrentUser, res: Res) -> None:
    """Remove your second factor, with a fresh code of it."""
    await factors.remove(res, caller, body.proof())


@router.post(
    "/auth/verify-factor",
    responses=problems(
        FactorChallengeInvalidError, FactorAttemptsExceededError, FactorInvalidError
    ),
)
async def verify_factor(body: VerifyFactorIn, res: Res, device: Device) -> GrantOut:
    """Trade a challenge of `/auth/verify-otp` and a second factor for tokens.

    A challenge stands five tries, an account 20 wrong codes a day; no code works twice.
    """
    grant = await factors.verify(res, body.challenge, body.proof(), device=device)
    return GrantOut.model_validate(grant)
