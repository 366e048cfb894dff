"""An emulator process, a webhook receiver, and the SDK pointed at the one and the other."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx2
import pytest
import stripe
from typing_extensions import override

from tests.ports import free_port

T = TypeVar("T")
SECRET = "whsec_test"
# stripe 16.1 hands httpx 0.28 its bodies in a deprecated way.
SDK_WARNING = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def eventually(probe: Callable[[], T], *, within_s: float = 8) -> T:
    """Return the first true result of `probe`."""
    deadline = time.monotonic() + within_s
    while not (result := probe()):
        assert time.monotonic() < deadline, f"not true within {within_s} s"
        time.sleep(0.01)
    return result


class Emulator:
    """The real command in its own process."""

    def __init__(self, *, log: Path, state: Path | None, webhook_url: str | None) -> None:
        port = free_port()
        command = [sys.executable, "-m", "deploy.local.stripe", "--port", str(port)]
        command += ["--state", str(state)] if state else []
        if webhook_url:
            command += ["--webhook-url", webhook_url]
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        self._connections = contextlib.ExitStack()
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, "STRIPE_WEBHOOK_SECRET": SECRET},
                stdout=output,
                stderr=output,
            )

    def wait_ready(self) -> None:
        def answers() -> bool:
            assert self.process.poll() is None, self._log.read_text()
            try:
                return httpx2.get(f"{self.url}/_emulator/health").status_code == 200
            except httpx2.TransportError:
                return False

        eventually(answers)

    def kill(self) -> None:
        self._connections.close()
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def sdk(self, *, retries: int = 0, timeout_s: float = 10) -> stripe.StripeClient:
        http = stripe.HTTPXClient(timeout=timeout_s, allow_sync_methods=True)
        self._connections.callback(http.close)
        return stripe.StripeClient(
            "sk_test_anything",
            base_addresses={"api": self.url},
            max_network_retries=retries,
            http_client=http,
        )

    @contextlib.asynccontextmanager
    async def async_sdk(self) -> AsyncIterator[stripe.StripeClient]:
        http = stripe.HTTPXClient(timeout=10)
        yield stripe.StripeClient(
            "sk_test_anything", base_addresses={"api": self.url}, http_client=http
        )
        await http.close_async()  # type: ignore[no-untyped-call] # as the SDK has it

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Return the JSON of one of the emulator's own controls; it must not refuse."""
        response = httpx2.request(method, f"{self.url}/_emulator{path}", json=body)
        assert response.status_code == 200, response.text
        return response.json()

    def raw(self, method: str, path: str, **form: str) -> Any:
        """Return what is on the wire, which the SDK would hide."""
        response = httpx2.request(
            method,
            self.url + path,
            headers={"authorization": "Bearer sk_test_anything"},
            **{"params" if method == "GET" else "data": form},  # type: ignore[arg-type]
        )
        return response.json()

    def advance(self, *, days: float) -> None:
        self.control("POST", "/clock/advance", {"seconds": int(days * 86_400)})


class Receiver:
    """Our side of the webhooks: keeps what comes, answers as told.

    Attributes:
        received: raw body and headers of every request, in the order of arrival.
        answers: statuses of the next answers; 200 once they are used up.
    """

    def __init__(self) -> None:
        self.received: list[tuple[bytes, dict[str, str]]] = []
        self.answers: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.received.append((body, headers))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            @override
            def log_message(self, format: str, *args: Any) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def events(self, about: str) -> list[Any]:
        """Return the received events in whose object `about`, an id, is named."""
        found = [json.loads(body) for body, _ in self.received]
        return [event for event in found if about in json.dumps(event["data"]["object"])]

    def types(self, about: str) -> list[str]:
        return [event["type"] for event in self.events(about)]


def open_session(
    sdk: stripe.StripeClient, *, price: str = "price_pro_monthly", **more: Any
) -> stripe.checkout.Session:
    params: Any = {
        "mode": "subscription",
        "success_url": "http://app.test/done?session_id={CHECKOUT_SESSION_ID}",
        "cancel_url": "http://app.test/back",
        "line_items": [{"price": price, "quantity": 1}],
        **more,
    }
    return sdk.v1.checkout.sessions.create(params)


def new_customer(sdk: stripe.StripeClient) -> str:
    return sdk.v1.customers.create({"email": "ada@example.com"}).id


def subscribe(emulator: Emulator, *, outcome: str = "paid", **more: Any) -> stripe.Subscription:
    """Return the subscription of a new customer who has just gone through checkout."""
    sdk = emulator.sdk()
    session = open_session(sdk, customer=new_customer(sdk), **more)
    paid = emulator.control("POST", f"/pay/{session.id}", {"outcome": outcome})
    return sdk.v1.subscriptions.retrieve(paid["session"]["subscription"])
