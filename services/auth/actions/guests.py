"""Guests: accounts that nobody knows anything of, until a code says whose they are."""

from libs.common import outbox
from libs.common.clock import new_id, utc_now
from libs.common.events import UserRegistered
from libs.common.identity import Identity
from services.auth import rules
from services.auth.access_models import Challenge
from services.auth.actions import addresses, audit, codes, factors, sends
from services.auth.actions.accounts import read_user
from services.auth.actions.sessions import end_sessions, ensure_alive, grant, open_session
from services.auth.errors import IdentifierTakenError, NotAGuestError, OtpInvalidError
from services.auth.models import Grant, Identifier, Session
from services.auth.resources import Resources
from services.auth.store import accounts, guests, identifiers
from services.auth.store import addresses as store_addresses
from services.auth.store import codes as store_codes


async def begin(res: Resources, *, address: str, device: str | None) -> Grant:
    """Make a guest and log them in. Nobody but auth hears of them.

    Raises:
        AddressLimitError: too many came from the address's network.
    """
    async with res.db.acquire() as conn:
        # Committed on its own, so that a refusal does not give it back.
        counted = await addresses.count(
            res, conn, address, what="guest", limit=res.settings.address_guests_per_hour
        )
        counted.ensure_allowed()
        async with conn.transaction():
            user_id = new_id()
            await guests.insert_guest(conn, user_id, utc_now())
            user = await read_user(conn, user_id)
            session = await open_session(
                conn, user_id, device=device, life=rules.GUEST_SESSION_LIFE
            )
    return grant(res, session, generation=session.generation, user=user)


async def upgrade(
    res: Resources,
    caller: Identity,
    identifier: Identifier,
    *,
    otp: str,
    address: str,
    device: str | None,
) -> tuple[Grant | Challenge, bool]:
    """Let a guest be known by the identifier from now on, with all that is theirs; log them in.

    If the identifier has an account already, that is logged in to, and the guest stays as it is:
    two people's chats are not mixed, and one who finds that out can still go back.

    Returns:
        The tokens, or a challenge as of `codes.verify_otp`; and whether they are of the guest's own
        account.

    Raises:
        NotAGuestError: the caller is known already.
        SessionRevokedError: the caller's login has ended.
        IdentifierTakenError: somebody signed up with the identifier at this moment.
        AddressLimitError, OtpAttemptsExceededError, OtpInvalidError: as for any code.
    """
    if not caller.guest:
        raise NotAGuestError
    async with res.db.acquire() as conn:
        counted, guess = await codes.check(res, conn, identifier, otp, address=address)
        async with conn.transaction():
            if not await store_codes.use_code(conn, guess.id, utc_now()):
                raise OtpInvalidError(attempts_left=rules.MAX_ATTEMPTS - guess.attempts)
            await ensure_alive(conn, caller)
            await sends.note_verified(conn, identifier)
            present = await accounts.lock_account(conn, identifier)
            if present is not None and present.banned:
                raise OtpInvalidError(attempts_left=rules.MAX_ATTEMPTS - guess.attempts)
            if present is not None and present.verified:
                user, kept = present, False
            else:
                await identifiers.release_identifier(conn, identifier)
                name = present.name if present else None
                if not await identifiers.upgrade_guest(
                    conn, caller.user_id, identifier, name=name, now=utc_now()
                ):
                    raise IdentifierTakenError
                user, kept = await read_user(conn, caller.user_id), True
                await outbox.add(
                    conn,
                    UserRegistered(
                        user_id=user.id, phone=user.phone, email=user.email, name=user.name
                    ),
                )
                await end_sessions(res, conn, user.id, reason="account")
                await audit.record(conn, "guest_upgraded", subject=user.id, actor=user.id)
            opened: Challenge | Session | None = await factors.challenge(conn, user.id)
            if opened is None:
                opened = await open_session(conn, user.id, device=device)
        await store_addresses.uncount_address(conn, counted.address_hash, since=counted.since)
    res.relay.nudge()
    if isinstance(opened, Challenge):
        return opened, kept
    return grant(res, opened, generation=opened.generation, user=user), kept
