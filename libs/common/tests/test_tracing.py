"""One trace through the outbox, RabbitMQ and a delay, whether or not spans are recorded."""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import structlog
from opentelemetry.trace import SpanKind
from typing_extensions import override

from libs.common import outbox
from libs.common.broker import Brokers
from libs.common.clock import new_id
from libs.common.db import Connection, open_pool
from libs.common.errors import UnavailableError
from libs.common.events import UserRegistered
from libs.common.outbox import Relay
from libs.common.tests.billing import registering
from libs.common.tracing import traced, traceparent

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def trace_id() -> str | None:
    found = traceparent()
    return found.split("-")[1] if found else None


def test_a_block_belongs_to_the_trace_of_its_caller_and_its_log_lines_say_so() -> None:
    with traced("tea", SpanKind.SERVER, PARENT):
        with traced("cup", SpanKind.CLIENT):
            inside = trace_id()
        logged = structlog.contextvars.get_contextvars()["trace_id"]

    assert inside == logged == TRACE
    assert traceparent() is None
    assert "trace_id" not in structlog.contextvars.get_contextvars()


@pytest.mark.parametrize(
    "parent",
    [
        None,
        "",
        "tea",
        PARENT.replace("-", "_"),
        PARENT.replace(TRACE, "0" * 32),
        PARENT.replace("b7ad6b7169203331", "0" * 16),
        f"{PARENT}\r\nx: y",
    ],
)
def test_without_a_valid_caller_each_block_begins_a_trace_of_its_own(parent: str | None) -> None:
    found = set()
    for _ in range(3):
        with traced("tea", SpanKind.SERVER, parent):
            found.add(traceparent())

    assert len(found) == 3
    assert all(re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", f"{each}") for each in found)


class Handler:
    """Fails once, and notes the trace that it finds itself in each time."""

    def __init__(self) -> None:
        self.traces: list[str | None] = []
        self.done = asyncio.Event()

    async def handle(self, _: UserRegistered) -> None:
        self.traces.append(trace_id())
        if len(self.traces) == 1:
            raise UnavailableError("come back")
        self.done.set()


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
async def brokers(rabbitmq_url: str, handler: Handler) -> AsyncIterator[Brokers]:
    async with registering(rabbitmq_url, handler, Handler.handle) as brokers:
        yield brokers


@pytest.mark.integration
async def test_a_handler_is_in_the_trace_in_which_its_event_was_stored_also_after_a_delay(
    conn: Connection, database_urls: dict[str, str], brokers: Brokers, handler: Handler
) -> None:
    with traced("post", SpanKind.SERVER, PARENT):
        async with conn.transaction():
            await outbox.add(conn, UserRegistered(user_id=new_id()))

    async with await open_pool(database_urls["chat"], schema="chat") as pool:
        await Relay(pool, brokers.publish).publish_pending()
        async with asyncio.timeout(20):
            await handler.done.wait()

    assert handler.traces == [TRACE, TRACE]


class Collector(BaseHTTPRequestHandler):
    """Keeps what it is sent."""

    got: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.got.append((self.path, body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    @override
    def log_message(self, format: str, *args: object) -> None:
        return


PROGRAM = """
import sys
from opentelemetry.trace import SpanKind
from libs.common.telemetry import export_spans
from libs.common.tracing import traced
export_spans("teahouse", sys.argv[1])
with traced("pour", SpanKind.SERVER, sys.argv[2]):
    try:
        with traced("boil", SpanKind.CLIENT):
            raise ValueError("a secret word")
    except ValueError:
        pass
"""


def test_spans_reach_a_collector_without_what_an_error_says() -> None:
    got: list[tuple[str, bytes]] = []
    handler = type("Keeping", (Collector,), {"got": got})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        program = [sys.executable, "-c", PROGRAM, url, PARENT]
        ran = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
        server.shutdown()
        thread.join()

    assert ran.returncode == 0, ran.stderr
    assert {path for path, _ in got} == {"/v1/traces"}
    body = b"".join(body for _, body in got)
    assert body.count(bytes.fromhex(TRACE)) == 2
    for word in (b"teahouse", b"pour", b"boil"):
        assert word in body
    assert b"secret" not in body
