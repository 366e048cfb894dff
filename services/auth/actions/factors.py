"""Second factors: adding, using and removing them.

Whoever tries a code holds the account's lock, so a user's tries come one after the other, and
nobody learns how a try went before it is counted: the answer leaves after the commit.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from libs.common.clock import utc_now
from libs.common.db import Connection, Pool
from libs.common.identity import Identity
from services.auth import factors as arithmetic
from services.auth import rules
from services.auth.access_errors import (
    FactorChallengeInvalidError,
    FactorExistsError,
    FactorInvalidError,
    FactorNeededError,
    FactorNotFoundError,
    FactorUnavailableError,
)
from services.auth.access_models import Challenge, Factor, ListedFactor
from services.auth.actions import audit
from services.auth.actions.accounts import read_user
from services.auth.actions.sessions import ensure_alive, grant, open_session
from services.auth.errors import UserNotFoundError
from services.auth.models import Grant, Identifier
from services.auth.resources import Resources
from services.auth.store import accounts, factors, profiles, sessions


@dataclass(frozen=True, slots=True)
class Proof:
    """What shows that somebody has the factor: exactly one of the two."""

    code: str | None
    recovery_code: str | None


async def list_factors(res: Resources, caller: Identity) -> list[ListedFactor]:
    """Return the caller's factor, if one counts.

    Raises:
        SessionRevokedError: the caller's login has ended.
    """
    async with res.db.acquire() as conn:
        await ensure_alive(conn, caller)
        factor = await factors.find_factor(conn, caller.user_id)
        if factor is None or factor.confirmed_at is None:
            return []
        left = await factors.count_recovery_codes(conn, caller.user_id)
    return [ListedFactor(factor.confirmed_at, left)]


async def begin(res: Resources, caller: Identity) -> tuple[str, str]:
    """Return the secret of a factor that a code is to confirm, and the URI for an app.

    It takes the place of one that was begun before.

    Raises:
        SessionRevokedError: the caller's login has ended.
        FactorUnavailableError: they do not log in by one-time code.
        FactorExistsError: they have a factor.
    """
    secret = res.factors.make_secret()
    async with res.db.acquire() as conn, conn.transaction():
        await _lock(conn, caller)
        identifier = (await read_user(conn, caller.user_id)).identifier
        if identifier is None:
            raise FactorUnavailableError
        sealed = res.factors.seal(secret, caller.user_id)
        if not await factors.upsert_factor(conn, Factor(caller.user_id, sealed, utc_now())):
            raise FactorExistsError
    return secret, res.factors.uri(secret, identifier.value)


async def confirm(res: Resources, caller: Identity, code: str) -> list[str]:
    """Let the factor count, the caller's login as one that passed it; return recovery codes.

    Raises:
        SessionRevokedError: the caller's login has ended.
        FactorNotFoundError: they have begun none.
        FactorExistsError: it counts already.
        FactorInvalidError: the code is wrong; not counted, for who begins a factor knows its codes.
    """
    recovery_codes = res.factors.make_recovery_codes()
    hashes = [res.factors.recovery_hash(each, caller.user_id) for each in recovery_codes]
    async with res.db.acquire() as conn, conn.transaction():
        await _lock(conn, caller)
        factor = await factors.find_factor(conn, caller.user_id)
        if factor is None:
            raise FactorNotFoundError
        if factor.confirmed_at is not None:
            raise FactorExistsError
        now = utc_now()
        step = res.factors.matching_step(code, factor.sealed, caller.user_id, now)
        if step is None:
            raise FactorInvalidError
        await factors.confirm_factor(conn, caller.user_id, step=step, now=now, code_hashes=hashes)
        await sessions.raise_session(conn, caller.session_id)
        await audit.record(conn, "factor_added", subject=caller.user_id, actor=caller.user_id)
    return recovery_codes


async def remove(res: Resources, caller: Identity, proof: Proof) -> None:
    """Delete the caller's factor and its recovery codes; no login counts as having passed it.

    Raises:
        SessionRevokedError: the caller's login has ended.
        FactorNotFoundError: they have none.
        FactorNeededError: they have a role that takes one.
        FactorAttemptsExceededError: too many wrong codes were tried today.
        FactorInvalidError: the code is wrong, or was used before.
    """
    user_id = caller.user_id
    async with res.db.acquire() as conn, conn.transaction():
        await _lock(conn, caller)
        factor = await _ensure_may_go(conn, user_id)
        is_proven = await _try(res, conn, factor, proof, utc_now())
        if is_proven:
            await _delete(conn, user_id)
            by_recovery_code = proof.recovery_code is not None
            await audit.record(
                conn,
                "factor_removed",
                subject=user_id,
                actor=user_id,
                by_recovery_code=by_recovery_code,
            )
    if not is_proven:
        raise FactorInvalidError  # after the commit, which a raise inside would undo


async def remove_lost(db: Pool, identifier: Identifier) -> None:
    """Delete the factor of somebody who cannot, for the operator.

    Raises:
        UserNotFoundError: nobody is known by that.
        FactorNotFoundError: they have none.
        FactorNeededError: they have a role that takes one.
    """
    async with db.acquire() as conn, conn.transaction():
        user = await accounts.lock_account(conn, identifier)
        if user is None:
            raise UserNotFoundError("nobody is known by that")
        await _ensure_may_go(conn, user.id)
        await _delete(conn, user.id)
        await audit.record(conn, "factor_removed", subject=user.id, actor=None)


async def _ensure_may_go(conn: Connection, user_id: UUID) -> Factor:
    factor = await factors.find_factor(conn, user_id)
    if factor is None or factor.confirmed_at is None:
        raise FactorNotFoundError
    if (await read_user(conn, user_id)).role != "user":
        raise FactorNeededError
    return factor


async def _delete(conn: Connection, user_id: UUID) -> None:
    await factors.delete_factor(conn, user_id)
    await sessions.lower_sessions(conn, user_id)


async def challenge(conn: Connection, user_id: UUID) -> Challenge | None:
    """Let a login wait for the user's factor, in its transaction; None if they have none."""
    factor = await factors.find_factor(conn, user_id)
    if factor is None or factor.confirmed_at is None:
        return None
    token = arithmetic.make_challenge()
    await factors.insert_challenge(
        conn,
        arithmetic.challenge_hash(token),
        user_id=user_id,
        expires_at=utc_now() + rules.CHALLENGE_LIFE,
    )
    return Challenge(token, int(rules.CHALLENGE_LIFE.total_seconds()))


async def verify(res: Resources, token: str, proof: Proof, *, device: str | None) -> Grant:
    """Trade a challenge and a right code, once each, for a session.

    Raises:
        FactorChallengeInvalidError: the challenge is unknown, too old, used, or used up.
        FactorAttemptsExceededError: too many wrong codes were tried on the account today.
        FactorInvalidError: the code is wrong, or was used before.
    """
    token_hash = arithmetic.challenge_hash(token)
    session = None
    async with res.db.acquire() as conn:
        user_id = await factors.find_challenged(conn, token_hash)
        if user_id is None:
            raise FactorChallengeInvalidError
        async with conn.transaction():
            await profiles.lock_version(conn, user_id)
            now = utc_now()  # after the wait for the lock
            attempts = await factors.count_attempt(
                conn, token_hash, now=now, limit=rules.MAX_ATTEMPTS
            )
            factor = await factors.find_factor(conn, user_id)
            if attempts is None or factor is None:
                raise FactorChallengeInvalidError
            user = await read_user(conn, user_id)
            if user.banned:
                raise FactorChallengeInvalidError
            if await _try(res, conn, factor, proof, now):
                await factors.delete_challenge(conn, token_hash)
                session = await open_session(conn, user_id, device=device, has_factor=True)
                if proof.recovery_code is not None:
                    left = await factors.count_recovery_codes(conn, user_id)
                    await audit.record(
                        conn, "recovery_code_used", subject=user_id, actor=user_id, codes_left=left
                    )
    if session is None:
        raise FactorInvalidError(attempts_left=rules.MAX_ATTEMPTS - attempts)
    return grant(res, session, generation=session.generation, user=user)


async def _try(
    res: Resources, conn: Connection, factor: Factor, proof: Proof, now: datetime
) -> bool:
    """Tell whether the proof is right, and use it up; count it if it is wrong.

    Raises:
        FactorAttemptsExceededError: too many were wrong today; this one is not looked at.
    """
    rules.ensure_factor_guesses_left(factor, now)
    user_id = factor.user_id
    if proof.recovery_code is not None:
        code_hash = res.factors.recovery_hash(proof.recovery_code, user_id)
        is_right = await factors.use_recovery_code(conn, user_id, code_hash)
    else:
        step = res.factors.matching_step(proof.code or "", factor.sealed, user_id, now)
        is_right = step is not None and await factors.use_step(conn, user_id, step)
    if not is_right:
        await factors.count_failure(conn, user_id, now=now, since=now - rules.FAILURE_WINDOW)
    return is_right


async def _lock(conn: Connection, caller: Identity) -> None:
    if await profiles.lock_version(conn, caller.user_id) is None:
        raise UserNotFoundError
    await ensure_alive(conn, caller)
