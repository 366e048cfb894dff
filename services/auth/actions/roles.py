"""Roles: who may see other people's accounts, and who may ban them."""

from libs.common.clock import utc_now
from libs.common.db import Pool
from libs.common.errors import SessionRevokedError
from libs.common.identity import Identity
from libs.common.roles import RoleMissingError
from services.auth import rules
from services.auth.access_errors import FactorMissingError
from services.auth.actions import audit
from services.auth.errors import UserNotFoundError
from services.auth.models import Identifier, Role
from services.auth.resources import Resources
from services.auth.store import accounts, factors, roles


async def grant_role(db: Pool, identifier: Identifier, role: Role) -> None:
    """Give the account another role, for its operator; who has it already stays as they are.

    Whoever is to be more than a user has a second factor first: else the role would go to the first
    who reads their e-mail. They have it in logins that pass the factor, from the next token on.

    Raises:
        UserNotFoundError: nobody is known by that.
        FactorMissingError: they have no second factor.
        LastAdminError: nobody else is an admin.
    """
    async with db.acquire() as conn, conn.transaction():
        admins = await roles.lock_admins(conn)
        user = await accounts.lock_account(conn, identifier)
        if user is None:
            raise UserNotFoundError("nobody is known by that; they sign up first")
        if user.role == role:
            return
        factor = await factors.find_factor(conn, user.id)
        if role != "user" and (factor is None or factor.confirmed_at is None):
            raise FactorMissingError
        if user.role == "admin":
            rules.ensure_admin_remains(admins, without=user.id)
        await roles.update_role(conn, user.id, role)
        await audit.record(
            conn, "role_changed", subject=user.id, actor=None, role=role, before=user.role
        )


async def ensure_role(res: Resources, caller: Identity, needed: Role) -> None:
    """Refuse a caller who may not do what takes that role, whatever their token says.

    Raises:
        SessionRevokedError: the caller's login has ended.
        RoleMissingError: they may not, or not in a login that did not pass the second factor.
    """
    async with res.db.acquire() as conn:
        role = await roles.find_role(
            conn, user_id=caller.user_id, session_id=caller.session_id, now=utc_now()
        )
    if role is None:
        raise SessionRevokedError
    if not rules.includes(role, needed):
        raise RoleMissingError(needed)
