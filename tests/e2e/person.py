"""A user of the system, as a client with patience and without a favourite gateway."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx2
import orjson
from typing_extensions import override

from libs.common.clock import new_id
from libs.common.testing import eventually
from tests.e2e.stack import Stack

ENDS = {"generation.completed", "generation.failed", "generation.stopped"}


class Turns(httpx2.AsyncBaseTransport):
    """Sends each request to the next gateway, as a load balancer without sticky sessions does."""

    def __init__(self, urls: list[str]) -> None:
        limits = httpx2.Limits(max_connections=None)
        self._inner = httpx2.AsyncHTTPTransport(limits=limits, verify=False)
        self._urls = itertools.cycle([httpx2.URL(url) for url in urls])

    @override
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = next(self._urls)
        request.url = request.url.copy_with(host=url.host, port=url.port)
        return await self._inner.handle_async_request(request)

    @override
    async def aclose(self) -> None:
        await self._inner.aclose()


class Person:
    """A logged-in user; their requests go to the gateways in turn.

    Attributes:
        posted: status and seconds of each answer to a post.
    """

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http
        self.posted: list[tuple[int, float]] = []

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
        started = time.monotonic()
        answer = await self.http.post(path, json={"content": content}, headers=headers)
        self.posted.append((answer.status_code, time.monotonic() - started))
        return answer

    async def post_until_accepted(self, room: str, content: str, within_s: float = 60) -> str:
        """Post, and again with the same key until it is accepted; return the reply's id."""
        key = str(new_id())
        deadline = time.monotonic() + within_s
        while True:
            answer = None
            with suppress(httpx2.TransportError):
                answer = await self.post(room, content, key)
            if answer is not None and answer.status_code == 202:
                return str(answer.json()["reply"]["id"])
            if answer is not None:
                assert answer.status_code >= 500, answer.text
                assert answer.headers["content-type"] == "application/problem+json"
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)

    async def pay(self, stripe_url: str) -> None:
        """Buy Pro, and return when it is there."""
        checkout = await self.call("POST", "/subscribe/pro", {})
        async with httpx2.AsyncClient(verify=False) as http:
            paid = await http.post(f"{stripe_url}/_emulator/pay/{checkout['session_id']}", json={})
        assert paid.status_code == 200, paid.text

        async def is_pro() -> bool:
            return bool((await self.call("GET", "/subscription/status"))["plan"] == "pro")

        await eventually(is_pro, within_s=10)

    async def follow(self, stream_url: str) -> tuple[str, dict[str, Any]]:
        """Return the text as a reader of the stream puts it together, and the last event."""
        view = View(stream_url)
        await view.read(self)
        assert view.end is not None, f"the stream ended without an end after {view.text!r}"
        return view.text, view.end

    async def messages(self, room: str) -> list[dict[str, Any]]:
        """Return the room's messages, oldest first; asks again where a frozen chat was asked."""

        async def pages() -> list[list[dict[str, Any]]]:
            response = await self.http.get(f"/chatroom/{room}/message", params={"limit": 100})
            assert response.status_code in {200, 504}, response.text
            return [response.json()["data"]] if response.status_code == 200 else []

        (messages,) = await eventually(pages, within_s=60)
        return messages[::-1]

    async def feed(self, cursor: str | None) -> tuple[list[dict[str, Any]], str]:
        """Return the events of the feed after `cursor`, and where it ends; without one only that.

        Events that Redis has lost are not among them.
        """
        events: list[dict[str, Any]] = []
        has_more = True
        while has_more:
            params = {"after": cursor} if cursor else {}
            headers = {"accept": "application/json"}
            answer = await self.http.get("/event", params=params, headers=headers)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            events += page["data"]
            cursor, has_more = page["cursor"], page["has_more"]
        return events, str(cursor)

    async def ended(self, room: str, *, within_s: float = 60) -> list[dict[str, Any]]:
        """Return the room's messages, oldest first, once every reply has ended."""

        async def all_ended() -> list[dict[str, Any]]:
            messages = await self.messages(room)
            is_open = {"queued", "running"} & {each["status"] for each in messages}
            return [] if is_open else messages

        return await eventually(all_ended, within_s=within_s)


async def ticket_for(http: httpx2.AsyncClient, **options: Any) -> str:
    """Return a ticket for a WebSocket; asks again while a busy Redis does not answer in time."""

    async def issued() -> str | None:
        answer = await http.post("/ws/ticket", **options)
        assert answer.status_code in {200, 201, 503}, answer.text
        return str(answer.json()["ticket"]) if answer.status_code != 503 else None

    ticket = await eventually(issued, within_s=20)
    assert ticket is not None
    return ticket


@asynccontextmanager
async def reading(person: Person, room: str) -> AsyncIterator[list[tuple[int, float]]]:
    """Read ten times a second while the block runs; note status and seconds of each answer."""
    paths = itertools.cycle(["/chatroom", f"/chatroom/{room}/message", "/user/me"])
    answers: list[tuple[int, float]] = []
    enough = asyncio.Event()

    async def read() -> None:
        while not enough.is_set():
            started = time.monotonic()
            answer = await person.http.get(next(paths))
            answers.append((answer.status_code, time.monotonic() - started))
            await asyncio.sleep(0.1)

    task = asyncio.create_task(read())
    try:
        yield answers
    finally:
        enough.set()
        await task


class View:
    """What one device shows of a reply; it may lose its connection and come back elsewhere.

    Attributes:
        text: as put together so far.
        end: the last event, once there is one.
        cuts: how often the connection was lost.
    """

    def __init__(self, stream_url: str) -> None:
        self.text = ""
        self.end: dict[str, Any] | None = None
        self.cuts = 0
        self._url = stream_url
        self._cursor = ""

    async def read(self, person: Person) -> None:
        """Read until the reply or the connection ends."""
        headers = {"last-event-id": self._cursor} if self._cursor else {}
        async with person.http.stream("GET", self._url, headers=headers) as response:
            if response.status_code >= 500:
                return
            assert response.status_code == 200, await response.aread()
            cursor = self._cursor
            async for line in response.aiter_lines():
                if line.startswith("id:"):
                    cursor = line.removeprefix("id:").strip()
                if line.startswith("data:"):
                    self._take(orjson.loads(line.removeprefix("data:")))
                    self._cursor = cursor
                if self.end is not None:
                    return

    async def read_to_the_end(self, person: Person) -> None:
        """Read, coming back whenever the connection is lost."""
        while self.end is None:
            with suppress(httpx2.TransportError):
                await self.read(person)
            if self.end is None:
                self.cuts += 1
                await asyncio.sleep(0.1)

    async def reaches(self, text: str) -> None:
        """Wait until `text` is shown."""

        async def is_shown() -> bool:
            return text in self.text

        await eventually(is_shown)

    def _take(self, event: dict[str, Any]) -> None:
        if event["type"] == "generation.snapshot":
            self.text = event["text"]
        elif event["type"] == "message.delta":
            assert event["offset"] == len(self.text), (event, self.text)
            self.text += event["text"]
        elif event["type"] in ENDS:
            self.end = event


@asynccontextmanager
async def device_at(gateway: str, person: Person) -> AsyncIterator[Person]:
    """Another device of a person's, which talks to one gateway only."""
    async with httpx2.AsyncClient(base_url=gateway, timeout=30, verify=False) as http:
        http.headers["authorization"] = person.http.headers["authorization"]
        yield Person(http)


@asynccontextmanager
async def logged_in(stack: Stack) -> AsyncIterator[Person]:
    transport = Turns(stack.gateways())
    async with httpx2.AsyncClient(
        base_url=stack.url("gateway"), timeout=30, transport=transport
    ) as http:
        email = f"{new_id()}@example.com"
        await http.post("/auth/signup", json={"email": email, "name": "Ada"})
        code = (await http.post("/auth/send-otp", json={"email": email})).json()["otp"]
        answer = await http.post("/auth/verify-otp", json={"email": email, "otp": code})
        assert answer.status_code == 200, answer.text
        http.headers["authorization"] = f"Bearer {answer.json()['access_token']}"
        yield Person(http)
