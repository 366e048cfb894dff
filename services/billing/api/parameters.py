"""What endpoints of several nouns take."""

from typing import Annotated

from fastapi import Depends, Header, Query, Request

from libs.common.http import CurrentUser
from libs.common.identity import Identity
from libs.common.roles import ensure_role
from services.billing.resources import Resources


def _resources(request: Request) -> Resources:
    resources: Resources = request.app.state.resources
    return resources


Res = Annotated[Resources, Depends(_resources)]


async def _support(caller: CurrentUser) -> Identity:
    ensure_role(caller, "support")
    return caller


Support = Annotated[Identity, Depends(_support)]
"""Comes first of an endpoint's parameters: everybody else gets the same 403 whatever they ask."""


async def _admin(caller: CurrentUser) -> Identity:
    ensure_role(caller, "admin")
    return caller


Admin = Annotated[Identity, Depends(_admin)]
IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=255)]
Limit = Annotated[int, Query(ge=1, le=100)]
