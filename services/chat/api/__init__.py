"""Chat over HTTP: read the request, call one action, shape the answer. No rule, no SQL."""

from services.chat.api import branches, chatrooms, messages, replies

ROUTERS = [
    chatrooms.direct_router,
    chatrooms.router,
    messages.router,
    branches.router,
    replies.router,
]
