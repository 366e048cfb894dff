"""Connections to one address of a service, kept open and lent to one request at a time."""

import asyncio
from typing import cast

from typing_extensions import override

from services.gateway.errors import ServiceUnavailableError
from services.gateway.response import Budget, UpstreamResponse
from services.gateway.settings import Address

CONNECT_TIMEOUT_S = 2.0
MAX_IDLE_S = 60.0
"""Seconds after which a kept connection is not used again: our servers close theirs after 75."""


class Connection(asyncio.Protocol):
    """A connection to a service; `used` tells whether it has carried an answer before."""

    def __init__(self, pool: "AddressPool") -> None:
        self.used = False
        self.idle_since = 0.0
        self._pool = pool
        self._response: UpstreamResponse | None = None
        self._transport: asyncio.Transport | None = None

    def send(self, request: bytes, *, is_head: bool) -> UpstreamResponse:
        """Write the whole request and return its answer-to-be."""
        response = UpstreamResponse(self, is_head=is_head, budget=self._pool.budget)
        if self._transport is None or self._transport.is_closing():
            response.fail()
            return response
        self._response = response
        self._transport.write(request)
        return response

    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        if self.is_open():
            cast("asyncio.Transport", self._transport).pause_reading()

    def resume(self) -> None:
        if self.is_open():
            cast("asyncio.Transport", self._transport).resume_reading()

    def end(self, *, reusable: bool) -> None:
        self._response = None
        transport = self._transport
        # A service may answer before it has read everything; the rest would start the next request.
        if not reusable or transport is None or transport.get_write_buffer_size():
            self.close()
        self.used = True
        self._pool.take_back(self)

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    @override
    def data_received(self, data: bytes) -> None:
        if self._response is None:
            self.close()  # nobody asked
        else:
            self._response.feed(data)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        response, self._response = self._response, None
        if response is not None:
            response.eof() if exc is None else response.fail()
        self._pool.forget(self)


class AddressPool:
    """Connections to one address, `limit` at most; the last used is lent first."""

    def __init__(self, address: Address, *, limit: int) -> None:
        self.host_header = f"host: {address[0]}:{address[1]}\r\n".encode()
        self.down_until = 0.0
        self.budget = Budget()
        self._address = address
        self._idle: list[Connection] = []
        self._slots = asyncio.Semaphore(limit)
        self._closed = False

    async def acquire(self, *, fresh: bool = False) -> Connection:
        """Lend a connection; whoever gets it sends a request on it and nothing else.

        Args:
            fresh: not one that was used before.

        Raises:
            OSError: nobody listens there, or not in time (TimeoutError).
            ServiceUnavailableError: all connections are busy and stay so.
        """
        if self._slots.locked():
            await self._wait_for_slot()
        else:
            await self._slots.acquire()
        try:
            while self._idle and not fresh:
                connection = self._idle.pop()
                if asyncio.get_running_loop().time() - connection.idle_since > MAX_IDLE_S:
                    connection.close()
                elif connection.is_open():
                    return connection
            return await self._connect()
        except BaseException:
            self._slots.release()
            raise

    def is_busy(self) -> bool:
        """Return whether whoever asks now has to wait."""
        return self._slots.locked()

    def take_back(self, connection: Connection) -> None:
        """Accept a lent connection again, open or closed."""
        self._slots.release()
        if self._closed:
            connection.close()
        elif connection.is_open():
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)

    def forget(self, connection: Connection) -> None:
        """Drop a connection that has ended."""
        if connection in self._idle:
            self._idle.remove(connection)

    def close(self) -> None:
        """Close what is idle now, and the rest when it comes back."""
        self._closed = True
        for connection in self._idle:
            connection.close()

    async def _wait_for_slot(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._slots.acquire()
        except TimeoutError as exc:
            raise ServiceUnavailableError(
                "the service is busy; try again in a moment", headers={"Retry-After": "1"}
            ) from exc

    async def _connect(self) -> Connection:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(self), *self._address
            )
        return connection
