"""Other people's accounts, and the audit log, over HTTP; for those whose role allows it.

The role is looked at before anything else of the request, in the database and not in the token, so
that everybody else gets the same 403 whatever they ask for.
"""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from libs.common.http import Body, CurrentUser
from libs.common.identity import Identity
from libs.common.problems import problems
from libs.common.roles import RoleMissingError
from libs.common.text import PlainText
from services.auth.access_errors import OwnAccountError
from services.auth.actions import audit, bans, roles
from services.auth.api.parameters import Res
from services.auth.errors import UserNotFoundError
from services.auth.identifiers import Email, Phone
from services.auth.models import Identifier, Role

MAX_PAGE = 100
router = APIRouter(prefix="/admin", tags=["admin"], responses=problems(RoleMissingError))


async def _support(caller: CurrentUser, res: Res) -> Identity:
    await roles.ensure_role(res, caller, "support")
    return caller


async def _admin(caller: CurrentUser, res: Res) -> Identity:
    await roles.ensure_role(res, caller, "admin")
    return caller


Support = Annotated[Identity, Depends(_support)]
Admin = Annotated[Identity, Depends(_admin)]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]


class BanIn(Body):
    """Why; shown to support and admins, and deleted with the account or the ban."""

    reason: Annotated[PlainText, Field(min_length=1, max_length=500)]


class ListedUserOut(BaseModel):
    """Somebody's account, to those who look after it.

    Attributes:
        verified: whether a code has shown whose the identifier is.
        role: what they may do, in logins that passed a second factor.
        banned_at: null for who is not.
        ban_reason: as it was given.
    """

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    phone: str | None
    email: str | None
    name: str | None
    created_at: AwareDatetime
    verified: bool
    role: Role
    banned_at: AwareDatetime | None
    ban_reason: str | None


class ListedUserPage(BaseModel):
    """A page of accounts; pass `next_cursor` as `cursor` for older ones."""

    data: list[ListedUserOut]
    next_cursor: UUID | None
    has_more: bool


class AuditEntryOut(BaseModel):
    """Something that happened to an account.

    Attributes:
        seq: from 1, without gaps.
        actor: the user who did it; null for the system or its operator.
        subject: the user it was done to.
        hash: SHA-256 over this entry and the hash before it, in hex.
    """

    seq: int
    at: AwareDatetime
    actor: UUID | None
    subject: UUID | None
    action: str
    detail: dict[str, Any]
    hash: str


class AuditPage(BaseModel):
    """A page of entries; pass `next_cursor` as `cursor` for older ones."""

    data: list[AuditEntryOut]
    next_cursor: int | None
    has_more: bool


class WhoIn(BaseModel):
    """Which accounts: all of them, or the one that has all that is given.

    Attributes:
        id: of the account.
        phone: with country code, its + written as %2B.
        email: capitals do not matter.
    """

    model_config = ConfigDict(extra="forbid")

    id: UUID | None = None
    phone: Phone | None = None
    email: Email | None = None
    cursor: UUID | None = None
    limit: int = Field(default=20, ge=1, le=MAX_PAGE)

    def identifier(self) -> Identifier | None:
        """Return the one that was sent, if any."""
        if self.phone is not None:
            return Identifier("phone", self.phone)
        return None if self.email is None else Identifier("email", self.email)


@router.get("/user")
async def list_users(_: Support, who: Annotated[WhoIn, Query()], res: Res) -> ListedUserPage:
    """Find accounts, the newest first: by id, phone number or e-mail address, or all."""
    found = await bans.list_users(
        res,
        user_id=who.id,
        identifier=who.identifier(),
        before=who.cursor,
        limit=who.limit + 1,
    )
    data = [ListedUserOut.model_validate(each) for each in found[: who.limit]]
    has_more = len(found) > who.limit
    return ListedUserPage(
        data=data, next_cursor=data[-1].id if has_more else None, has_more=has_more
    )


@router.post("/user/{user_id}/ban", responses=problems(OwnAccountError, UserNotFoundError))
async def ban(user_id: UUID, body: BanIn, caller: Admin, res: Res) -> ListedUserOut:
    """Ban somebody: their logins and API keys end within a second, and codes open nothing to them.

    To them it is as if they had no account. Replies that are being written go on. You cannot ban
    yourself.
    """
    return ListedUserOut.model_validate(await bans.ban(res, caller, user_id, reason=body.reason))


@router.post("/user/{user_id}/unban", responses=problems(OwnAccountError, UserNotFoundError))
async def unban(user_id: UUID, caller: Admin, res: Res) -> ListedUserOut:
    """Let somebody log in again."""
    return ListedUserOut.model_validate(await bans.unban(res, caller, user_id))


@router.get("/audit")
async def list_audit(
    _: Admin, res: Res, user_id: UUID | None = None, cursor: int | None = None, limit: Limit = 20
) -> AuditPage:
    """Read what happened to accounts, the latest first; of one with `user_id`."""
    found = await audit.list_latest(res, subject=user_id, before=cursor, limit=limit + 1)
    data = [
        AuditEntryOut(
            seq=each.seq,
            at=each.at,
            actor=each.actor,
            subject=each.subject,
            action=each.action,
            detail=dict(each.detail),
            hash=each.hash.hex(),
        )
        for each in found[:limit]
    ]
    has_more = len(found) > limit
    return AuditPage(data=data, next_cursor=data[-1].seq if has_more else None, has_more=has_more)
