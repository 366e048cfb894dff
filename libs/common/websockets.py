"""How uvicorn serves WebSockets: small frames, no compression, dead peers noticed, a soft end."""

import asyncio
from typing import Any

from typing_extensions import override
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

MAX_FRAME = 64 * 1024
"""Bytes of a client's message at most."""

PING_S = 20.0
"""Seconds between two pings, and until an answer has to be there: a peer that reads nothing is
closed after twice that."""

DRAIN_S = 3.0
"""Seconds that the app has at shutdown to close a connection in its own words."""


class SocketProtocol(WebSocketsSansIOProtocol):
    """One connection; at shutdown the app comes first, where uvicorn would close it with 1012."""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._cut: asyncio.TimerHandle | None = None

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self._cut is not None:
            self._cut.cancel()
        super().connection_lost(exc)

    @override
    def shutdown(self) -> None:
        if self.handshake_complete and not self.close_sent:
            self._cut = self.loop.call_later(DRAIN_S, super().shutdown)
        else:
            super().shutdown()


WEBSOCKETS: dict[str, Any] = {
    "ws": SocketProtocol,
    "ws_max_size": MAX_FRAME,
    "ws_per_message_deflate": False,
    "ws_ping_interval": PING_S,
    "ws_ping_timeout": PING_S,
}
"""Options of uvicorn."""
