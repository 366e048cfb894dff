"""Auth over HTTP: read the request, call one action, shape the answer. No rule, no SQL."""

from services.auth.api import (
    admin,
    api_keys,
    codes,
    exports,
    factors,
    guests,
    identifiers,
    sessions,
    users,
)

ROUTERS = [
    *(codes.router, sessions.router, users.router, identifiers.router, exports.router),
    *(guests.router, api_keys.router, api_keys.internal, factors.router, admin.router),
]
