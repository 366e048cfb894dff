"""Somebody with an identifier and a client, for tests to log in as."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
import httpx2

from libs.common.events import Event
from libs.common.topology import EVENTS

EMAIL = "ada@example.org"
SECRET = "a secret of the tests"


class Person:
    """Somebody with an e-mail address and a client."""

    def __init__(
        self, client: httpx2.AsyncClient, email: str = EMAIL, *, address: str = "192.0.2.1"
    ) -> None:
        self.client = client
        self.email = email
        self.address = address

    async def post(self, path: str, **body: Any) -> httpx2.Response:
        headers = {"X-Forwarded-For": self.address}
        return await self.client.post(
            f"/auth/{path}", json={"email": self.email, **body}, headers=headers
        )

    async def ask_code(self) -> str:
        response = await self.post("send-otp")
        assert response.status_code == 202, response.text
        return str(response.json()["otp"])

    async def guess(self, otp: str) -> httpx2.Response:
        return await self.post("verify-otp", otp=otp)

    async def log_in(self, user_agent: str = "") -> dict[str, Any]:
        if user_agent:
            self.client.headers["User-Agent"] = user_agent
        await self.post("signup")
        response = await self.guess(await self.ask_code())
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    async def refresh(self, token: str) -> httpx2.Response:
        return await self.client.post("/auth/refresh", json={"refresh_token": token})

    async def me(self, access_token: str) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {access_token}"}
        return await self.client.get("/user/me", headers=headers)

    async def call(
        self, method: str, path: str, login: dict[str, Any], body: Any = None
    ) -> httpx2.Response:
        """Send a request with the login's access token."""
        headers = {"Authorization": f"Bearer {login['access_token']}"}
        return await self.client.request(method, path, headers=headers, json=body)


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06}"


@asynccontextmanager
async def listening(rabbitmq_url: str, event: type[Event]) -> AsyncIterator[asyncio.Queue[bytes]]:
    """Yield a queue that fills with the bodies of `event` published from now on."""
    bodies: asyncio.Queue[bytes] = asyncio.Queue()

    async def keep(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        bodies.put_nowait(message.body)

    async with await aio_pika.connect(rabbitmq_url) as connection:
        queue = await (await connection.channel()).declare_queue(exclusive=True)
        await queue.bind(EVENTS.name, routing_key=event.TYPE)
        await queue.consume(keep, no_ack=True)
        yield bodies
