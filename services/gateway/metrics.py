"""What the gateway tells Prometheus, and where: on a port that no client reaches."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from time import perf_counter
from typing import Literal

from prometheus_client import Counter, Gauge, Histogram, start_http_server
from starlette.types import Message, Send

from libs.common.metrics import SECONDS, method_label

_requests = Counter(
    "thoughtflow_gateway_requests",
    "Requests by the service that they are for; status 0: the client left before the answer.",
    ["upstream", "method", "status"],
)
_request_s = Histogram(
    "thoughtflow_gateway_request_duration_seconds",
    "Time from a request to the head of its answer, the service's part included.",
    ["upstream"],
    buckets=SECONDS,
)
_live = Gauge("thoughtflow_live_connections", "Open connections that tell of events.", ["kind"])


class Watched:
    """Passes an answer on, and sees when its head goes out.

    Attributes:
        status: of the answer, 0 before it.
    """

    def __init__(self, send: Send) -> None:
        self.status = 0
        self._send = send
        self._began = perf_counter()
        self._head_at = 0.0

    async def __call__(self, message: Message) -> None:
        """Send it."""
        if message["type"] == "http.response.start":
            self.status, self._head_at = message["status"], perf_counter()
        await self._send(message)

    def count(self, method: str, upstream: str) -> None:
        """Count the request that this was the answer to."""
        count, duration = _of_upstream(upstream, method_label(method), self.status)
        count.inc()
        duration.observe((self._head_at or perf_counter()) - self._began)


@cache  # finding a metric by its labels costs more than counting
def _of_upstream(upstream: str, method: str, status: int) -> tuple[Counter, Histogram]:
    return _requests.labels(upstream, method, status), _request_s.labels(upstream)


@contextmanager
def connected(kind: Literal["event_stream", "websocket"]) -> Iterator[None]:
    """Count a live connection while the block runs."""
    gauge = _live.labels(kind)
    gauge.inc()
    try:
        yield
    finally:
        gauge.dec()


@asynccontextmanager
async def serving(host: str, port: int) -> AsyncIterator[None]:
    """Serve /metrics while the block runs, by a thread of its own; port 0 serves nothing.

    Raises:
        OSError: somebody else has the port.
    """
    if not port:
        yield
        return
    server, thread = start_http_server(port, host)
    try:
        yield
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        thread.join()
