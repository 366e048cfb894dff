"""Auth over HTTP: read the request, call one action, shape the answer. No rule, no SQL."""

from services.auth.api import admin, codes, exports, factors, identifiers, sessions, users

ROUTERS = [
    *(codes.router, sessions.router, users.router, identifiers.router, exports.router),
    *(factors.router, admin.router),
]
