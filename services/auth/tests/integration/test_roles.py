"""Who becomes an admin, and in which of their logins they are one."""

import asyncio
from typing import Any

import jwt
import pytest
from fastapi import FastAPI

from libs.common.db import Connection, Pool
from services.auth.access_errors import FactorMissingError, LastAdminError
from services.auth.actions import roles
from services.auth.models import Identifier, Role
from services.auth.settings import Settings
from services.auth.tests.integration.authenticator import add_factor, challenge_of, verify
from services.auth.tests.integration.command import run
from services.auth.tests.integration.crowd import outcomes
from services.auth.tests.integration.person import Person
from services.auth.tests.integration.staff import employ

pytestmark = pytest.mark.integration


@pytest.fixture
def bob(ada: Person) -> Person:
    return Person(ada.client, "bob@example.org")


@pytest.fixture
def db(app: FastAPI) -> Pool:
    pool: Pool = app.state.resources.db
    return pool


def role_of(login: dict[str, Any]) -> str:
    claims = jwt.decode(login["access_token"], options={"verify_signature": False})
    return str(claims["role"])


async def grant(db: Pool, person: Person, role: Role) -> None:
    await roles.grant_role(db, Identifier("email", person.email), role)


async def test_a_token_has_the_role_only_where_its_login_passed_the_factor(
    app: FastAPI, ada: Person
) -> None:
    """Z3: the server knows the role, and nobody sends it."""
    weak = await ada.log_in()
    strong = await employ(app, ada, "support")

    refreshed = (await ada.refresh(weak["refresh_token"])).json()

    assert (role_of(weak), role_of(refreshed), role_of(strong)) == ("user", "user", "support")


async def test_a_login_that_passes_the_factor_has_the_role_from_the_start(
    app: FastAPI, ada: Person, db: Pool
) -> None:
    device = await add_factor(ada, await ada.log_in())
    await grant(db, ada, "admin")

    login = (await verify(ada, await challenge_of(ada), code=device.code(1))).json()

    assert role_of(login) == "admin"


async def test_the_command_grants_a_role_to_who_has_a_factor(
    ada: Person, conn: Connection, settings: Settings
) -> None:
    login = await ada.log_in()
    early = await asyncio.to_thread(run, settings, "grant-role", ada.email, "admin")
    await add_factor(ada, login)

    granted = await asyncio.to_thread(run, settings, "grant-role", ada.email.upper(), "admin")

    assert early.returncode == 1
    assert "they add one at POST /user/me/factor first" in early.stderr
    assert granted.returncode == 0, granted.stderr
    assert granted.stdout.startswith("they are admin from their next token on")
    assert role_of((await ada.refresh(login["refresh_token"])).json()) == "admin"
    entry = await conn.fetchrow("SELECT * FROM audit WHERE action = 'role_changed'")
    assert entry is not None
    assert (entry["actor"], str(entry["subject"])) == (None, login["user"]["id"])
    assert entry["detail"] == '{"role": "admin", "before": "user"}'


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("nobody@example.org", "admin"), 1, "nobody is known by that; they sign up first"),
        (("ada", "admin"), 1, "write the number with its country code"),
        (("ada@example.org", "root"), 1, "there is no role root, only user, support, admin"),
        (("ada@example.org",), 2, "grant-role IDENTIFIER ROLE"),
        (("ada@example.org", "admin", "x"), 2, "grant-role IDENTIFIER ROLE"),
    ],
)
async def test_the_command_says_what_it_cannot_do(
    ada: Person, settings: Settings, arguments: tuple[str, ...], status: int, told: str
) -> None:
    refused = await asyncio.to_thread(run, settings, "grant-role", *arguments)

    assert refused.returncode == status
    assert told in refused.stderr


async def test_the_last_admin_stays_one(
    app: FastAPI, ada: Person, bob: Person, db: Pool, conn: Connection
) -> None:
    await employ(app, ada, "admin")
    with pytest.raises(LastAdminError):
        await grant(db, ada, "support")

    await employ(app, bob, "admin")
    await grant(db, ada, "support")

    assert await conn.fetchval("SELECT email FROM account WHERE role = 'admin'") == bob.email


async def test_of_two_admins_who_are_demoted_at_once_one_stays(
    app: FastAPI, ada: Person, bob: Person, db: Pool, conn: Connection
) -> None:
    for person in (ada, bob):
        await employ(app, person, "admin")

    for _ in range(5):
        told = await outcomes(grant(db, person, "user") for person in (ada, bob))

        assert told == {"accepted": 1, "last_admin": 1}
        assert await conn.fetchval("SELECT count(*) FROM account WHERE role = 'admin'") == 1
        await conn.execute("UPDATE account SET role = 'admin'")


async def test_who_has_a_role_keeps_the_factor(app: FastAPI, ada: Person, db: Pool) -> None:
    login = await ada.log_in()
    device = await add_factor(ada, login)
    await grant(db, ada, "support")
    body = {"code": device.code(1)}

    refused = await ada.call("DELETE", "/user/me/factor", login, body)
    await grant(db, ada, "user")
    removed = await ada.call("DELETE", "/user/me/factor", login, body)

    assert (refused.status_code, refused.json()["code"]) == (409, "factor_needed")
    assert removed.status_code == 204


async def test_an_operator_removes_a_factor_that_was_lost_but_not_from_who_has_a_role(
    ada: Person, db: Pool, conn: Connection, settings: Settings
) -> None:
    login = await ada.log_in()
    await add_factor(ada, login)
    await grant(db, ada, "support")
    refused = await asyncio.to_thread(run, settings, "remove-factor", ada.email)
    await grant(db, ada, "user")

    removed = await asyncio.to_thread(run, settings, "remove-factor", ada.email)
    again = await asyncio.to_thread(run, settings, "remove-factor", ada.email)

    assert (refused.returncode, removed.returncode, again.returncode) == (1, 0, 1)
    assert "the factor was not removed: your role takes" in refused.stderr
    assert "access_token" in await ada.log_in()
    assert await conn.fetchval("SELECT count(*) FROM session WHERE has_factor") == 0
    entry = await conn.fetchrow("SELECT * FROM audit WHERE action = 'factor_removed'")
    assert entry is not None
    assert (entry["actor"], str(entry["subject"])) == (None, login["user"]["id"])


async def test_nobody_gets_a_role_while_their_factor_goes(
    ada: Person, db: Pool, conn: Connection
) -> None:
    login = await ada.log_in()
    for _ in range(5):
        device = await add_factor(ada, login)
        body = {"recovery_code": device.recovery_codes[0]}

        _, outcome = await asyncio.gather(
            ada.call("DELETE", "/user/me/factor", login, body),
            grant(db, ada, "admin"),
            return_exceptions=True,
        )

        assert outcome is None or isinstance(outcome, FactorMissingError)
        factors = await conn.fetchval("SELECT count(*) FROM factor")
        role = await conn.fetchval("SELECT role FROM account")
        assert (role, factors) in {("user", 0), ("admin", 1)}
        await conn.execute("UPDATE account SET role = 'user'")
        await conn.execute("DELETE FROM factor")
