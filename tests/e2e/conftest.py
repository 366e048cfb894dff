import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from deploy.local.ports import next_free
from libs.common.clock import new_id

ROOT = Path(__file__).parents[2]
LIMIT = 6
"""Messages a day of the Basic plan in these tests."""


class Stack:
    """The whole system, started as `make run` does, in a home of its own."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="thoughtflow-e2e-"))
        self.home.chmod(0o755)
        self.log = self.home / "run.log"
        environment = {
            **os.environ,
            "THOUGHTFLOW_HOME": str(self.home),
            "THOUGHTFLOW_PORT": str(next_free(24000 + os.getpid() % 100 * 80)),
            "BASIC_MESSAGES_PER_DAY": str(LIMIT),
            "CHATS": "2",
            "AIS": "2",
        }
        environment.pop("MAKELEVEL", None)
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "deploy.local", "run"],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_ready(self, timeout_s: float = 100) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            assert self._process.poll() is None, self.log.read_text()
            if (self.home / "run.json").exists() and self._is_ready():
                return
            time.sleep(0.2)
        raise AssertionError(self.log.read_text())

    def _is_ready(self) -> bool:
        try:
            answers = [
                httpx2.get(f"{process['url']}/health/ready", timeout=3).status_code
                for process in self.processes()
                if process["name"].rstrip("-0123456789")
                in {"gateway", "auth", "chat", "ai", "billing"}
            ]
        except httpx2.HTTPError:
            return False
        return len(answers) >= 7 and set(answers) == {200}

    def content(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.home / "run.json").read_text())
        return content

    def processes(self) -> list[dict[str, Any]]:
        processes: list[dict[str, Any]] = self.content()["processes"]
        return processes

    def url(self, name: str) -> str:
        return str(self.content()["urls"][name])

    def kill(self, prefix: str) -> int:
        """Kill -9 every process whose name starts with `prefix`; return how many."""
        victims = [p["pid"] for p in self.processes() if p["name"].startswith(prefix)]
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        return len(victims)

    def stop(self) -> int:
        self._process.send_signal(signal.SIGINT)
        code = self._process.wait(60)
        shutil.rmtree(self.home, ignore_errors=True)
        return code


class Person:
    """A logged-in user of the gateway."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http

    async def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        response = await self.http.request(method, path, json=body)
        assert response.status_code < 400, (method, path, response.status_code, response.text)
        answer: dict[str, Any] = response.json()
        return answer

    async def room(self) -> str:
        return str((await self.call("POST", "/chatroom", {"title": "Tea"}))["id"])

    async def post(self, room: str, content: str, key: str | None = None) -> httpx2.Response:
        headers = {"idempotency-key": key} if key else {}
        path = f"/chatroom/{room}/message"
        return await self.http.post(path, json={"content": content}, headers=headers)

    async def pay(self, stripe_url: str) -> None:
        """Buy Pro, and return when it is there."""
        checkout = await self.call("POST", "/subscribe/pro", {})
        paid = httpx2.post(f"{stripe_url}/_emulator/pay/{checkout['session_id']}", json={})
        assert paid.status_code == 200, paid.text
        deadline = time.monotonic() + 10
        while (await self.call("GET", "/subscription/status"))["plan"] != "pro":
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)

    async def follow(self, stream_url: str) -> tuple[str, dict[str, Any]]:
        """Return the text as a reader of the stream puts it together, and the last event."""
        text = ""
        async with self.http.stream("GET", stream_url) as response:
            assert response.status_code == 200, await response.aread()
            async for line in response.aiter_lines():
                if not line.startswith("data:"):
                    continue
                event = orjson.loads(line.removeprefix("data:"))
                if event["type"] == "generation.snapshot":
                    text = event["text"]
                elif event["type"] == "message.delta":
                    assert event["offset"] == len(text)
                    text += event["text"]
                elif event["type"] in {"generation.completed", "generation.failed"}:
                    return text, event
        raise AssertionError(f"the stream ended without an end after {text!r}")

    async def ended(self, room: str, *, within_s: float = 60) -> list[dict[str, Any]]:
        """Return the room's messages, oldest first, once every reply has ended."""
        deadline = time.monotonic() + within_s
        while True:
            messages: list[dict[str, Any]] = []
            with suppress(httpx2.TransportError):
                response = await self.http.get(f"/chatroom/{room}/message?limit=100")
                if response.status_code == 200:
                    messages = response.json()["data"]
            if messages and not {"queued", "running"} & {m["status"] for m in messages}:
                return messages[::-1]
            assert time.monotonic() < deadline, messages
            await asyncio.sleep(0.1)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    stack = Stack()
    try:
        stack.wait_ready()
        yield stack
    finally:
        stack.stop()


@asynccontextmanager
async def logged_in(stack: Stack) -> AsyncIterator[Person]:
    async with httpx2.AsyncClient(base_url=stack.url("gateway"), timeout=30) as http:
        email = f"{new_id()}@example.com"
        await http.post("/auth/signup", json={"email": email, "name": "Ada"})
        code = (await http.post("/auth/send-otp", json={"email": email})).json()["otp"]
        answer = await http.post("/auth/verify-otp", json={"email": email, "otp": code})
        assert answer.status_code == 200, answer.text
        http.headers["authorization"] = f"Bearer {answer.json()['access_token']}"
        yield Person(http)


@pytest.fixture
async def person(stack: Stack) -> AsyncIterator[Person]:
    async with logged_in(stack) as someone:
        yield someone


@pytest.fixture
async def stranger(stack: Stack) -> AsyncIterator[Person]:
    async with logged_in(stack) as someone:
        yield someone
