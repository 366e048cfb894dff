"""`python -m deploy.containers.migrate`: makes or updates the services' accounts and schemas.

The one-shot `migrate` of docker-compose.yml. It changes nothing that is up to date, so it may run
at any time, also while the services do.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from urllib.parse import urlsplit

import asyncpg

from deploy.local.accounts import DATABASE, set_up_broker, set_up_database
from deploy.local.config import ROOT, SERVICES
from deploy.local.server import ServerError
from deploy.local.stack import WITH_DATABASE
from libs.common.migrate import migrate


async def update(environment: Mapping[str, str]) -> None:
    """Make roles, schemas and accounts, then apply each service's migrations as its own role.

    Args:
        environment: `ADMIN_DATABASE_URL` of the superuser, `MANAGEMENT_URL` of RabbitMQ's
            management API with its administrator's `RABBITMQ_PASSWORD`, and for each service
            `CHAT_PASSWORD` and the like, the password of its accounts.

    Raises:
        ServerError: a server does not let us in, refuses or does not answer.
    """
    passwords = {service: environment[f"{service.upper()}_PASSWORD"] for service in SERVICES}
    in_database = {service: passwords[service] for service in WITH_DATABASE}
    admin = environment["ADMIN_DATABASE_URL"]
    await set_up_broker(environment["MANAGEMENT_URL"], environment["RABBITMQ_PASSWORD"], passwords)
    await set_up_database(admin, in_database)
    address = urlsplit(admin).netloc.rpartition("@")[2]
    for service, password in in_database.items():
        conn = await asyncpg.connect(f"postgresql://{service}:{password}@{address}/{DATABASE}")
        try:
            folder = ROOT / "services" / service / "migrations"
            applied = await migrate(conn, schema=service, own=folder)
        finally:
            await conn.close()
        print(f"{service}: {', '.join(applied) or 'up to date'}", flush=True)


def main() -> None:
    """Update what this process's environment names."""
    try:
        asyncio.run(update(os.environ))
    except ServerError as problem:
        sys.exit(str(problem))


if __name__ == "__main__":
    main()
