"""Auth over HTTP: parse, call one action, shape."""

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from libs.common.events import Plan
from libs.common.http import Body, CurrentUser
from libs.common.text import PlainText
from services.auth.actions import accounts, codes, sessions
from services.auth.identifiers import Email, Phone
from services.auth.models import Identifier
from services.auth.resources import Resources

JWKS_MAX_AGE_S = 300

router = APIRouter()


def resources_of(request: Request) -> Resources:
    """Return what the lifespan opened."""
    resources: Resources = request.app.state.resources
    return resources


def address_of(request: Request) -> str:
    """Return the client's address: the gateway puts it, and nothing else, into the header."""
    forwarded = ",".join(request.headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()
    return forwarded or (request.client.host if request.client else "")


Res = Annotated[Resources, Depends(resources_of)]
Address = Annotated[str, Depends(address_of)]


class IdentifierIn(Body):
    """Who it is about: exactly one of the two.

    Attributes:
        phone: with country code; spaces and dashes do not matter.
        email: capitals do not matter.
    """

    phone: Phone | None = None
    email: Email | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.phone is None) == (self.email is None):
            raise PydanticCustomError("one_identifier", "send either phone or email")
        return self

    def identifier(self) -> Identifier:
        """Return the one that was sent."""
        if self.phone is not None:
            return Identifier("phone", self.phone)
        return Identifier("email", str(self.email))


class SignUpIn(IdentifierIn):
    """A new user; `name` is shown back to them."""

    name: Annotated[PlainText, Field(min_length=1, max_length=200)] | None = None


class VerifyOtpIn(IdentifierIn):
    """A code and whose it is."""

    otp: str = Field(pattern="^[0-9]{6}$")


class RefreshIn(Body):
    """The last refresh token received."""

    refresh_token: str = Field(min_length=1, max_length=200)


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

    channel: Literal["sms", "email"]
    expires_in: int
    resend_in: int
    otp: str | None = None


class UserOut(BaseModel):
    """The user, to themselves."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    phone: str | None
    email: str | None
    name: str | None
    plan: Plan
    created_at: AwareDatetime
    verified: bool


class GrantOut(BaseModel):
    """Tokens; send `access_token` as `Authorization: Bearer`, keep `refresh_token` secret.

    Attributes:
        access_token: a JWT.
        token_type: RFC 6750.
        expires_in: seconds that the access token is accepted.
        refresh_token: opaque; each refresh returns the next one to use.
        user: whose they are.
    """

    model_config = ConfigDict(from_attributes=True)

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - a scheme
    expires_in: int
    refresh_token: str
    user: UserOut


@router.post("/auth/signup", status_code=201, tags=["auth"])
async def sign_up(body: SignUpIn, res: Res, address: Address) -> SignedUpOut:
    """Register a phone number or an e-mail address.

    Repeating it changes the name, and once a code has verified the account, nothing.
    """
    await accounts.sign_up(res, body.identifier(), name=body.name, address=address)
    return SignedUpOut()


@router.post("/auth/send-otp", status_code=202, response_model_exclude_none=True, tags=["auth"])
async def send_otp(body: IdentifierIn, res: Res, address: Address) -> SentOtpOut:
    """Send a one-time code of six digits; while one is live, the same again.

    At most 10 in 10 minutes. With OTP_SENDER=mock the answer holds the code.
    """
    identifier = body.identifier()
    sent = await codes.send_otp(res, identifier, address=address)
    return SentOtpOut(
        channel="sms" if identifier.kind == "phone" else "email",
        expires_in=sent.expires_in,
        resend_in=sent.resend_in,
        otp=sent.otp,
    )


@router.post("/auth/verify-otp", tags=["auth"])
async def verify_otp(body: VerifyOtpIn, res: Res, address: Address) -> GrantOut:
    """Trade a one-time code for tokens.

    A code works once and stands five guesses; an identifier stands 20 wrong ones a day.
    """
    grant = await codes.verify_otp(res, body.identifier(), otp=body.otp, address=address)
    return GrantOut.model_validate(grant)


@router.post("/auth/refresh", tags=["auth"])
async def refresh(body: RefreshIn, res: Res) -> GrantOut:
    """Trade a refresh token for the next one and a fresh access token.

    The token before the newest is accepted for 60 seconds more and leads to the same successor;
    an older one ends the session.
    """
    return GrantOut.model_validate(await sessions.refresh(res, body.refresh_token))


@router.get("/user/me", tags=["user"])
async def read_me(caller: CurrentUser, res: Res) -> UserOut:
    """Return the user whose access token it is."""
    return UserOut.model_validate(await accounts.read_me(res, caller.user_id))


@router.get("/.well-known/jwks.json", tags=["auth"])
async def read_jwks(res: Res, response: Response) -> dict[str, list[dict[str, Any]]]:
    """Return the public keys that verify access tokens (RFC 7517)."""
    response.headers["Cache-Control"] = f"public, max-age={JWKS_MAX_AGE_S}"
    return res.keyring.jwks()
