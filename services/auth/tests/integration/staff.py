"""People with roles, for tests to act as."""

from typing import Any

from fastapi import FastAPI

from services.auth.actions import roles
from services.auth.models import Identifier, Role
from services.auth.tests.integration.authenticator import add_factor
from services.auth.tests.integration.person import Person


async def employ(app: FastAPI, person: Person, role: Role) -> dict[str, Any]:
    """Give the person a second factor and the role; return a login that has it."""
    login = await person.log_in()
    await add_factor(person, login)
    await roles.grant_role(app.state.resources.db, Identifier("email", person.email), role)
    refreshed: dict[str, Any] = (await person.refresh(login["refresh_token"])).json()
    return refreshed
