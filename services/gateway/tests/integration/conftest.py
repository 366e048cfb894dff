"""The gateway on a real port, in front of one fake service that plays all four."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import httpx2
import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from redis.asyncio import Redis
from starlette.types import ASGIApp, Receive, Scope, Send

from libs.common import testing
from libs.common.clock import new_id
from libs.common.server import Server
from libs.common.websockets import WEBSOCKETS
from services.gateway.app import create_app
from services.gateway.settings import Settings
from tests.ports import free_port

DEADLINE_S = 10.0
OPTIONS: dict[str, Any] = {"timeout_graceful_shutdown": 1} | WEBSOCKETS
NO_BROKER = "amqp://nobody:nothing@127.0.0.1:9/"
"""For the tests that need none: the gateway serves without."""


eventually = partial(testing.eventually, within_s=DEADLINE_S)


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[int]:
    """Serve an app on a free port, as the services are served."""
    port = free_port()
    server = Server(app, host="127.0.0.1", port=port, lifespan="auto", **OPTIONS)
    task = asyncio.create_task(server._serve())

    async def is_up() -> bool:
        return server.started or task.done()

    await eventually(is_up)
    try:
        yield port
    finally:
        server.should_exit = True
        await task


@dataclass
class FakeServices:
    """Echoes what it is asked, publishes a key, and knows the replies in `messages`.

    `planned` has the answer to a request, e.g. to `POST /completion`, `headers` what every answer
    has besides.
    """

    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    seen: list[Scope] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    planned: dict[str, tuple[int, Any]] = field(default_factory=dict)
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.seen.append(scope)
        self.bodies.append(body)
        status, answer = self._answer(scope, body)
        headers = [(b"content-type", b"application/json"), (b"server", b"secret/1.0")]
        headers += self.headers
        if len(answer) % 2:
            headers.append((b"content-length", str(len(answer)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        half = len(answer) // 2
        await send({"type": "http.response.body", "body": answer[:half], "more_body": True})
        await send({"type": "http.response.body", "body": answer[half:]})

    def last_asked(self, path: str) -> Scope:
        """Return the newest request for `path`; the gateway asks for documents meanwhile."""
        return next(scope for scope in reversed(self.seen) if scope["path"] == path)

    def _answer(self, scope: Scope, body: bytes) -> tuple[int, bytes]:
        path: str = scope["path"]
        if (planned := self.planned.get(f"{scope['method']} {path}")) is not None:
            return planned[0], orjson.dumps(planned[1])
        if path == "/.well-known/jwks.json":
            jwk = jwt.algorithms.OKPAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
            return 200, orjson.dumps({"keys": [{**jwk, "kid": "k1", "alg": "EdDSA"}]})
        if path == "/openapi.json":
            operations: dict[str, Any] = {"get": {"responses": {}}}
            paths = dict.fromkeys(("/user/me", "/chatroom", "/health/live"), operations)
            return 200, orjson.dumps({"paths": paths, "components": {"schemas": {}}})
        if path.startswith("/chatroom/") and scope["method"] == "GET":
            message = self.messages.get(path.rsplit("/", 1)[1])
            return (200, orjson.dumps(message)) if message else (404, b"{}")
        return 200, body

    def accept(self, target: str, room_id: UUID, reply_id: UUID) -> None:
        """Answer 202 to a post as chat does."""
        message = {"id": str(new_id()), "chatroom_id": str(room_id), "role": "user"}
        accepted = {
            "message": message,
            "reply": {"id": str(reply_id), "status": "queued"},
            "stream_url": f"/chatroom/{room_id}/message/{reply_id}/stream",
        }
        self.planned[target] = (202, accepted)

    def exchange(self, token: str) -> None:
        """Answer as auth does when it is asked about an API key."""
        self.planned["POST /exchange"] = (200, {"access_token": token, "expires_in": 900})

    def token(
        self,
        user_id: UUID,
        session_id: UUID | None = None,
        *,
        age_s: int = 0,
        scope: str | None = None,
        guest: bool = False,
    ) -> str:
        now = int(time.time()) - age_s
        claims = {
            "iss": "thoughtflow",
            "aud": "thoughtflow",
            "sub": str(user_id),
            "sid": str(session_id or new_id()),
            "jti": str(new_id()),
            "iat": now,
            "exp": now + 900,
            "role": "user",
            "guest": guest,
        } | ({} if scope is None else {"scope": scope})
        headers = {"kid": "k1", "typ": "at+jwt"}
        return jwt.encode(claims, self.key, algorithm="EdDSA", headers=headers)


@pytest.fixture
async def fakes() -> FakeServices:
    return FakeServices()


@pytest.fixture
async def services_port(fakes: FakeServices) -> AsyncIterator[int]:
    async with serving(fakes) as port:
        yield port


Start = Callable[..., Any]


@pytest.fixture
def start_gateway(services_port: int, redis_url: str, redis: Redis) -> Start:
    """Start a gateway with these settings; the context's value is a client for it."""

    @asynccontextmanager
    async def start(**given: Any) -> AsyncIterator[httpx2.AsyncClient]:
        url = f"http://127.0.0.1:{services_port}"
        names = ("auth_url", "chat_url", "ai_url", "billing_url")
        settings: dict[str, Any] = dict.fromkeys(names, url) | {
            "environment": "development",
            "redis_url": redis_url,
            "jwks_url": f"{url}/.well-known/jwks.json",
            "rabbitmq_url": NO_BROKER,
            **given,
        }
        async with (
            serving(create_app(Settings(_env_file=None, **settings))) as port,
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client,
        ):
            yield client

    return start


@pytest.fixture
async def client(start_gateway: Start) -> AsyncIterator[httpx2.AsyncClient]:
    async with start_gateway(anonymous_requests_per_minute=0, user_requests_per_minute=0) as client:
        yield client
