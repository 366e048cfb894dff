"""The HTTP client for the services behind the gateway: several addresses, tried in turn."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from services.gateway.errors import (
    BrokenAnswerError,
    GatewayTimeoutError,
    ServiceUnavailableError,
)
from services.gateway.pool import AddressPool, Connection
from services.gateway.response import UpstreamResponse
from services.gateway.settings import Address

log = structlog.stdlib.get_logger()
HEAD_TIMEOUT_S = 14.0
"""Clients are promised an answer within 15 seconds, whatever has become of a service."""

BODY_IDLE_TIMEOUT_S = 60.0
DOWN_S = 1.0
"""Seconds that an address which refused a connection is left alone."""

SILENT_S = 10.0
"""The same for one that took a request and did not answer."""

_REPEATABLE = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """One request.

    Attributes:
        target: path and query, as they go over the wire.
        headers: lines that each end with CRLF; without Host and Content-Length.
        body: None where the method has none.
    """

    method: str
    target: bytes
    headers: bytes
    body: bytes | None = None

    def encode(self, host_header: bytes) -> bytes:
        """Return the bytes for the wire."""
        start = b"%b %b HTTP/1.1\r\n" % (self.method.encode(), self.target)
        if self.body is None:
            return b"".join((start, host_header, self.headers, b"\r\n"))
        length = b"content-length: %d\r\n\r\n" % len(self.body)
        return b"".join((start, host_header, self.headers, length, self.body))


class Upstream:
    """A service at one or more addresses."""

    def __init__(
        self,
        addresses: Sequence[Address],
        *,
        connections: int = 200,
        head_timeout_s: float = HEAD_TIMEOUT_S,
    ) -> None:
        self._pools = [AddressPool(address, limit=connections) for address in addresses]
        self._head_timeout_s = head_timeout_s
        self._turn = 0

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Return the answer as soon as its head is here; read it to its end or `close` it.

        A request is sent again only where the first one cannot have had an effect: it met a kept
        connection that the service was closing, and may be repeated by its method.

        Raises:
            ServiceUnavailableError: no address takes connections.
            GatewayTimeoutError: the answer's head did not come in time.
            BrokenAnswerError: the answer cannot be read.
        """
        encoded, is_head = request.encode, request.method == "HEAD"
        pool, connection = await self._acquire()
        was_used = connection.used
        response = connection.send(encoded(pool.host_header), is_head=is_head)
        try:
            await self._wait_for_head(pool, response)
        except BrokenAnswerError:
            if not was_used or response.started or request.method not in _REPEATABLE:
                raise
        else:
            return response
        pool, connection = await self._acquire(fresh=True)
        response = connection.send(encoded(pool.host_header), is_head=is_head)
        await self._wait_for_head(pool, response)
        return response

    async def probe(self) -> None:
        """Connect; raises as `send` does."""
        _, connection = await self._acquire(fresh=True)
        connection.end(reusable=False)

    def close(self) -> None:
        """Close every connection that is not in use."""
        for pool in self._pools:
            pool.close()

    async def _wait_for_head(self, pool: AddressPool, response: UpstreamResponse) -> None:
        try:
            await response.head(self._head_timeout_s)
        except GatewayTimeoutError:
            pool.down_until = asyncio.get_running_loop().time() + SILENT_S
            response.close()
            raise
        except BaseException:
            response.close()
            raise

    async def _acquire(self, *, fresh: bool = False) -> tuple[AddressPool, Connection]:
        for pool in self._in_turn():
            try:
                return pool, await pool.acquire(fresh=fresh)
            except OSError as exc:  # TimeoutError is one
                pool.down_until = asyncio.get_running_loop().time() + DOWN_S
                log.warning("upstream_unreachable", error=type(exc).__name__)
            except ServiceUnavailableError:
                log.warning("upstream_busy")
        raise ServiceUnavailableError(
            "this part of the service is not available right now; try again in a moment",
            headers={"Retry-After": "1"},
        )

    def _in_turn(self) -> list[AddressPool]:
        """Return the pools from the next in turn on; who failed lately or is busy comes last."""
        if len(self._pools) == 1:
            return self._pools
        self._turn = (self._turn + 1) % len(self._pools)
        ordered = self._pools[self._turn :] + self._pools[: self._turn]
        now = asyncio.get_running_loop().time()
        return sorted(ordered, key=lambda pool: (pool.down_until > now, pool.is_busy()))
