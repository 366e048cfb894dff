"""`python -m services.auth [serve|migrate|check|rotate-keys|verify-audit|...]`."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from pydantic_core import PydanticCustomError

from libs.common.db import open_pool
from libs.common.errors import ThoughtflowError
from libs.common.service import main
from services.auth.actions import audit, factors, keys, roles
from services.auth.app import create_app
from services.auth.identifiers import parse_identifier
from services.auth.models import ROLES
from services.auth.resources import load_keyring
from services.auth.settings import Settings


async def rotate_keys(settings: Settings) -> str:
    """Have a new key sign access tokens, a while from now."""
    secret = settings.auth_secret.get_secret_value()
    async with await open_pool(settings.database_url, schema="auth", max_size=1) as db:
        await load_keyring(db, secret)  # so that there is one, sealed with our secret
        signs_from = await keys.rotate(db, secret)
    return f"the newest key signs from {signs_from:%Y-%m-%d %H:%M:%S} UTC on"


async def verify_audit(settings: Settings) -> str:
    """Check the audit log's chain of hashes."""
    async with await open_pool(settings.database_url, schema="auth", max_size=1) as db:
        try:
            count, head = await audit.verify(db)
        except audit.AuditBrokenError as exc:
            raise SystemExit(f"the audit log is broken: {exc}") from exc
    return f"{count} entries, each as it was written; the last one's hash is {head}"


async def grant_role(settings: Settings, identifier: str, role: str) -> str:
    """Give somebody another role: user, support or admin."""
    if role not in ROLES:
        raise SystemExit(f"there is no role {role}, only {', '.join(ROLES)}")
    async with await open_pool(settings.database_url, schema="auth", max_size=1) as db:
        with _refusing("the role was not granted"):
            await roles.grant_role(db, parse_identifier(identifier), role)
    return f"they are {role} from their next token on, in logins that pass the second factor"


async def remove_factor(settings: Settings, identifier: str) -> str:
    """Remove the second factor of somebody who lost it."""
    async with await open_pool(settings.database_url, schema="auth", max_size=1) as db:
        with _refusing("the factor was not removed"):
            await factors.remove_lost(db, parse_identifier(identifier))
    return "they log in with a one-time code alone, until they add another factor"


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """End the process with what was refused, and why."""
    try:
        yield
    except (PydanticCustomError, ThoughtflowError) as exc:
        raise SystemExit(f"{what}: {exc}") from exc


if __name__ == "__main__":
    commands: dict[str, Callable[..., Awaitable[str]]] = {
        "rotate-keys": rotate_keys,
        "verify-audit": verify_audit,
        "grant-role": grant_role,
        "remove-factor": remove_factor,
    }
    main("auth", Settings, create_app, commands)
