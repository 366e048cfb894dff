"""The services' accounts in PostgreSQL and RabbitMQ, as little as each of them needs.

`python -m deploy.local.accounts database|broker`, with the administrator's URL and what else it
takes in its environment: the launcher need not have the libraries for it.
"""

import asyncio
import base64
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping

import asyncpg

from deploy.local.config import ROOT
from deploy.local.server import ServerError

INIT_SQL = ROOT / "deploy/postgres/init.sql"
DATABASE = "thoughtflow"


async def set_up_database(admin_url: str, passwords: Mapping[str, str]) -> None:
    """Make the database, the roles and their schemas; what exists keeps its data.

    Args:
        admin_url: of the superuser.
        passwords: by role.

    Raises:
        ServerError: the server does not let us in or refuses.
    """
    try:
        admin = await asyncpg.connect(admin_url)
        try:
            if not await admin.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
                await admin.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            await admin.close()
        conn = await asyncpg.connect(admin_url, database=DATABASE)
        try:
            await conn.execute(INIT_SQL.read_text(encoding="utf-8"))
            for role, password in passwords.items():
                # A utility statement takes no parameters; both values are ours.
                await conn.execute(f"ALTER ROLE {role} PASSWORD '{password}'")
        finally:
            await conn.close()
    except asyncpg.InvalidPasswordError as problem:
        raise ServerError(
            "the passwords do not fit the data in PostgreSQL: put the old secrets.json back (in "
            "containers .env), or start afresh with `make reset` (`make down ARGS=--volumes`)"
        ) from problem
    except asyncpg.PostgresError as problem:
        raise ServerError(f"PostgreSQL refused to set up the services' accounts: {problem}") from (
            problem
        )


async def set_up_broker(
    management_url: str, admin_password: str, passwords: Mapping[str, str]
) -> None:
    """Make one account per service, without access to the management UI.

    Every service declares the whole topology, hence the permission on every name.

    Args:
        management_url: root of the management API.
        admin_password: of the administrator `thoughtflow`.
        passwords: by account.

    Raises:
        ServerError: the API does not answer within 30 s, or refuses.
    """
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    for user, password in passwords.items():
        for path, body in (
            (f"users/{user}", {"password": password, "tags": ""}),
            (f"permissions/%2F/{user}", everything),
        ):
            request = urllib.request.Request(  # noqa: S310 - our own http URL
                f"{management_url}api/{path}", data=json.dumps(body).encode(), method="PUT"
            )
            login = base64.b64encode(f"thoughtflow:{admin_password}".encode()).decode()
            request.add_header("Authorization", f"Basic {login}")
            request.add_header("Content-Type", "application/json")
            await asyncio.to_thread(_send, request)


def _send(request: urllib.request.Request) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(request, timeout=5):  # noqa: S310 - our own http URL
                return
        except urllib.error.HTTPError as refusal:
            text = f"RabbitMQ's management API answered {refusal.code} to {request.selector}"
            raise ServerError(text) from refusal
        except OSError as problem:  # it opens a little later than AMQP
            if time.monotonic() > deadline:
                raise ServerError("RabbitMQ's management API does not answer") from problem
            time.sleep(0.1)


def main() -> None:
    """Make the accounts of PASSWORDS, a JSON object, and exit with 1 if that fails."""
    environment = os.environ
    passwords = json.loads(environment["PASSWORDS"])
    if sys.argv[1] == "database":
        making = set_up_database(environment["POSTGRES_URL"], passwords)
    else:
        making = set_up_broker(
            environment["MANAGEMENT_URL"], environment["RABBITMQ_PASSWORD"], passwords
        )
    try:
        asyncio.run(making)
    except ServerError as problem:
        sys.exit(str(problem))


if __name__ == "__main__":
    main()
