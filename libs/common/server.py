"""The HTTP server of every service: uvicorn, within bounds that it does not set itself."""

import asyncio
import socket
from typing import Any, cast

import structlog
import uvicorn
from starlette.types import ASGIApp
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from libs.common.clock import new_id
from libs.common.edge import PROBLEM, problem_bytes
from libs.common.errors import HeadersTooLargeError

log = structlog.stdlib.get_logger()
MAX_HEAD = 64 * 1024
"""Bytes at most of a request line with its headers, and of trailers between or behind chunks."""

REQUEST_S = 30.0
"""Seconds that a client has to send a head, or from its first byte on a whole request."""

STALL_S = 30.0
"""Seconds within which a client reads `STALL_BYTES` of an answer, or all but a rest of it."""

STALL_BYTES = 256 * 1024
LINGER_S = 1.0
LINGER_BYTES = 1 << 20
"""Until both, what is still sent after a refusal is read and dropped."""

KEEP_ALIVE_S = 75
GRACEFUL_S = 10
"""Seconds that open requests get at shutdown; uvicorn would wait for ever."""

STOPPING = "stopping"
"""Key of the ASGI state whose `asyncio.Event` is set when the process begins to end."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """One client's connection; who sends without end, or not to the end, or never reads, is cut."""

    _fruitless = 0  # bytes since the last that made a whole head or part of a body
    _is_fruitful = False
    _is_refused = False
    _is_receiving = True  # a request, or its first byte is awaited
    _deadline: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None
    _unread = 0
    _is_socket = False

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self._arm()

    @override
    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            self._fruitless += len(data)
            if self._fruitless > LINGER_BYTES:
                self.transport.abort()
            return
        while data and not self.transport.is_closing():
            room = MAX_HEAD - self._fruitless
            piece, data = data[:room], data[room:]
            self._is_fruitful = False
            super().data_received(piece)
            self._fruitless = 0 if self._is_fruitful else self._fruitless + len(piece)
            if self._fruitless >= MAX_HEAD:
                self._refuse()
                return
        if self._is_socket:
            return
        # A request that came in one piece, as most do, never sees a timer.
        if self._is_receiving or self.cycle.response_complete:  # no request: empty lines
            if self._deadline is None:
                self._arm()
        elif self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._deadline, self._stall):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    @override
    def handle_websocket_upgrade(self) -> None:
        self._is_socket = True  # the next protocol's from here on
        if self._deadline is not None:
            self._deadline.cancel()
        super().handle_websocket_upgrade()

    @override
    def on_message_begin(self) -> None:
        self._is_receiving = True
        super().on_message_begin()

    @override
    def on_headers_complete(self) -> None:
        self._is_fruitful = True
        super().on_headers_complete()

    @override
    def on_body(self, body: bytes) -> None:
        self._is_fruitful = True
        super().on_body(body)

    @override
    def on_message_complete(self) -> None:
        self._is_fruitful = True
        self._is_receiving = False
        super().on_message_complete()

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.transport.get_write_buffer_size()
        self._stall = self.loop.call_later(STALL_S, self._check_reader)

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(REQUEST_S, self._check_sender)

    def _check_sender(self) -> None:
        if self.flow.read_paused:  # the rest may lie in the socket: it is we who do not read
            self._arm()
        else:
            log.info("slow_request_cut")
            self.transport.abort()

    def _check_reader(self) -> None:
        unread = self.transport.get_write_buffer_size()
        if self._unread - unread < STALL_BYTES:
            log.info("slow_reader_cut")
            self.transport.abort()
            return
        self._unread = unread
        self._stall = self.loop.call_later(STALL_S, self._check_reader)

    def _refuse(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()  # an answer is under way
            return
        self._is_refused = True
        error = HeadersTooLargeError(f"send at most {MAX_HEAD} bytes of headers")
        request_id = str(new_id())
        body = problem_bytes(error, request_id)
        head = (
            f"HTTP/1.1 {error.status} Request Header Fields Too Large\r\n"
            f"content-type: {PROBLEM.decode()}\r\ncontent-length: {len(body)}\r\n"
            f"x-request-id: {request_id}\r\ncache-control: no-store\r\n"
            "x-content-type-options: nosniff\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        # Closed with bytes unread, a socket resets, and the client may lose the answer.
        self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.abort)


class Server(uvicorn.Server):
    """Tells the app by an event in the ASGI state, under `STOPPING`, when it begins to end.

    The lifespan learns of it only once all answers have ended, which a live stream never does.
    """

    def __init__(self, app: ASGIApp, *, host: str, port: int, **options: Any) -> None:
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            http=BoundedHttpProtocol,
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            **{"ws": "none", "timeout_graceful_shutdown": GRACEFUL_S, **options},
        )
        super().__init__(config)
        self._stopping = asyncio.Event()

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.lifespan.state[STOPPING] = self._stopping
        await super().startup(sockets)

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping.set()
        await super().shutdown(sockets)
