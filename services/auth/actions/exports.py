"""What auth knows of a user, for the user."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from services.auth.actions.accounts import read_user
from services.auth.resources import Resources
from services.auth.store import api_keys, exports


async def export_account(res: Resources, user_id: UUID) -> dict[str, Any]:
    """Return the account, its logins and API keys; no secret is part of them.

    Raises:
        UserNotFoundError: the account was deleted after the token was issued.
    """
    async with res.db.acquire() as conn:
        user = await read_user(conn, user_id)
        sessions = await exports.list_sessions(conn, user_id)
        keys = await api_keys.list_api_keys(conn, user_id)
    return {
        "user": asdict(user),
        "sessions": sessions,
        "api_keys": [asdict(key) for key in keys],
    }
