"""Chat over HTTP: read the request, call one action, shape the answer. No rule, no SQL."""

from services.chat.api import (
    branches,
    chatrooms,
    completions,
    exports,
    feedback,
    messages,
    quotas,
    replies,
    search,
    transfer,
)

ROUTERS = [
    chatrooms.direct_router,
    chatrooms.router,
    messages.router,
    branches.router,
    replies.router,
    feedback.router,
    search.router,
    transfer.router,
    completions.router,
    quotas.router,
    exports.router,
]
