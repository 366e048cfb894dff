"""Invoices over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict

from libs.common.http import CurrentUser
from services.billing.actions import invoices
from services.billing.api.parameters import Res

MAX_PAGE = 100

router = APIRouter(tags=["billing"])


class InvoiceOut(BaseModel):
    """An invoice; amounts are in the currency's smallest unit, cents for USD.

    Attributes:
        id: Stripe's id of it.
        number: as printed on it; null before it has one.
        status: `open`, `paid`, `uncollectible` or `void`.
        currency: ISO 4217 in lower case.
        total: what it asks for.
        amount_paid: what was paid.
        refunded_amount: what was given back of that.
        disputed: whether the cardholder's bank has disputed the payment, however that ended.
        dispute_status: Stripe's word for how the dispute stands.
        period_start: from when on it pays for the subscription.
        period_end: until when.
        created_at: when it was made.
        hosted_url: Stripe's page of it, where an open one can be paid.
        pdf_url: the same to print.
    """

    model_config = ConfigDict(from_attributes=True)

    id: str
    number: str | None
    status: str
    currency: str
    total: int
    amount_paid: int
    refunded_amount: int
    disputed: bool
    dispute_status: str | None
    period_start: AwareDatetime
    period_end: AwareDatetime
    created_at: AwareDatetime
    hosted_url: str | None
    pdf_url: str | None


class InvoicePage(BaseModel):
    """A page of invoices, the newest first; pass `next_cursor` as `cursor` for older ones."""

    data: list[InvoiceOut]
    next_cursor: str | None
    has_more: bool


@router.get("/subscription/invoices")
async def list_invoices(
    user: CurrentUser,
    res: Res,
    cursor: Annotated[str | None, Query(pattern="^in_[A-Za-z0-9_]{1,250}$")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 20,
) -> InvoicePage:
    """List the caller's invoices, the newest first, with what became of their payments."""
    found = await invoices.list_invoices(res, user.user_id, before=cursor, limit=limit + 1)
    data = [InvoiceOut.model_validate(each) for each in found[:limit]]
    has_more = len(found) > limit
    return InvoicePage(data=data, next_cursor=data[-1].id if has_more else None, has_more=has_more)
