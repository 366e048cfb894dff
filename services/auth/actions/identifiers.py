"""Another phone number or e-mail address for an account, with a code on the old and the new."""

from uuid import UUID

from libs.common import outbox
from libs.common.clock import utc_now
from libs.common.errors import AccountRequiredError
from services.auth.actions import codes, sends
from services.auth.actions.accounts import read_me, read_user
from services.auth.actions.profiles import user_changed
from services.auth.errors import IdentifierTakenError, IdentifierUnchangedError, OtpInvalidError
from services.auth.models import Identifier, SentCode, User
from services.auth.resources import Resources
from services.auth.store import addresses, identifiers, profiles
from services.auth.store import codes as store_codes


async def send_codes(
    res: Resources, user_id: UUID, identifier: Identifier, *, address: str, language: str
) -> tuple[Identifier, SentCode, SentCode]:
    """Send a code to the new identifier and one to the present; return that, and what was sent.

    The same for identifiers that others have: whoever asks learns nothing. The address and the
    language are those of the client.

    Raises:
        UserNotFoundError: the account was deleted after the token was issued.
        AccountRequiredError: a guest has no present one; see `guests.upgrade`.
        IdentifierUnchangedError: the account is known by that already.
        ThoughtflowError: `codes.send_otp` refuses one of them; the first may have been sent.
    """
    present = await _present(res, user_id)
    if identifier == present:
        raise IdentifierUnchangedError
    new, old = [
        await codes.send_otp(res, whose, address=address, language=language)
        for whose in (identifier, present)
    ]
    return present, new, old


async def change_identifier(
    res: Resources,
    user_id: UUID,
    identifier: Identifier,
    *,
    otp: str,
    present_otp: str,
    address: str,
) -> User:
    """Let the account be known by the new identifier from now on; uses both codes up.

    Args:
        res: the service's resources.
        user_id: the caller.
        identifier: the new one.
        otp: the code that was sent there.
        present_otp: the code that was sent to the present one.
        address: the client's.

    Raises:
        UserNotFoundError: the account was deleted after the token was issued.
        AccountRequiredError: a guest has no present one; see `guests.upgrade`.
        IdentifierUnchangedError: the account is known by that already.
        IdentifierTakenError: both codes are right, and the new identifier is another account's.
        AddressLimitError, OtpAttemptsExceededError, OtpInvalidError: as for any code, of either.
    """
    present = await _present(res, user_id)
    if identifier == present:
        raise IdentifierUnchangedError
    async with res.db.acquire() as conn:
        checked = [
            await codes.check(res, conn, whose, code, address=address)
            for whose, code in ((identifier, otp), (present, present_otp))
        ]
        async with conn.transaction():
            # In one order, and before the account, as logging in does: nobody waits in a circle.
            code_ids = sorted(guess.id for _, guess in checked)
            used = [await store_codes.use_code(conn, code_id, utc_now()) for code_id in code_ids]
            await profiles.lock_version(conn, user_id)
            if not all(used) or (await read_user(conn, user_id)).identifier != present:
                raise OtpInvalidError(attempts_left=0)
            await identifiers.release_identifier(conn, identifier)
            if not await identifiers.replace_identifier(conn, user_id, identifier):
                raise IdentifierTakenError
            user = await read_user(conn, user_id)
            await outbox.add(conn, user_changed(user))
            for whose in sorted((identifier, present), key=lambda each: each.value):
                await sends.note_verified(conn, whose)
        for counted, _ in checked:
            await addresses.uncount_address(conn, counted.address_hash, since=counted.since)
    res.relay.nudge()
    return user


async def _present(res: Resources, user_id: UUID) -> Identifier:
    identifier = (await read_me(res, user_id)).identifier
    if identifier is None:
        raise AccountRequiredError
    return identifier
