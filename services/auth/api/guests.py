"""Guests over HTTP."""

from fastapi import APIRouter

from libs.common.http import CurrentUser
from libs.common.problems import problems
from services.auth.access_models import Challenge
from services.auth.actions import guests
from services.auth.api.codes import FactorRequiredOut, VerifyOtpIn
from services.auth.api.parameters import CODE_REFUSALS, Address, Device, Res
from services.auth.api.sessions import GrantOut
from services.auth.errors import AddressLimitError, IdentifierTakenError, NotAGuestError

router = APIRouter(prefix="/auth", tags=["auth"])


class UpgradeOut(GrantOut):
    """Tokens of an account that has a phone number or an e-mail address.

    Attributes:
        kept: whether it is the guest's own, with its chats. If not, the identifier had an account,
            which these tokens are of; the guest's chats stay with the guest.
    """

    kept: bool


@router.post("/guest", status_code=201, responses=problems(AddressLimitError))
async def begin_as_guest(res: Res, address: Address, device: Device) -> GrantOut:
    """Begin without signing up: a few messages a day, until `/auth/upgrade`.

    Keep the refresh token: nothing else leads back. A guest who does not come back for 30 days is
    erased with all chats.
    """
    return GrantOut.model_validate(await guests.begin(res, address=address, device=device))


@router.post("/upgrade", responses=problems(NotAGuestError, IdentifierTakenError, *CODE_REFUSALS))
async def upgrade(
    body: VerifyOtpIn, caller: CurrentUser, res: Res, address: Address, device: Device
) -> UpgradeOut | FactorRequiredOut:
    """Turn the guest who asks into a user, by a code from `/auth/send-otp`; the chats stay.

    The tokens in the answer replace the guest's, which end. Signing up before is not needed.
    Where the identifier's account has a second factor, that is asked for as by `/auth/verify-otp`.
    """
    grant, kept = await guests.upgrade(
        res, caller, body.identifier(), otp=body.otp, address=address, device=device
    )
    if isinstance(grant, Challenge):
        return FactorRequiredOut.model_validate(grant)
    return UpgradeOut(**GrantOut.model_validate(grant).model_dump(), kept=kept)
