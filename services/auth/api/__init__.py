"""Auth over HTTP: read the request, call one action, shape the answer. No rule, no SQL."""

from services.auth.api import api_keys, codes, sessions, users

ROUTERS = [
    codes.router,
    sessions.router,
    users.router,
    api_keys.router,
    api_keys.internal,
]
