"""Chat over HTTP: read the request, call one action, shape the answer. No rule, no SQL."""

from services.chat.api import chatrooms, completions, feedback, messages, search, transfer

ROUTERS = [
    chatrooms.direct_router,
    chatrooms.router,
    messages.router,
    feedback.router,
    search.router,
    transfer.router,
    completions.router,
]
