"""The WebSocket: both live views on one connection, and what a client sends on it.

A frame is done before the next one is read, so a client that sends faster than we act is slowed
down by its own connection. What is told goes out by a task for each subscription; one that waits
for a slow reader keeps nothing, as its listener is told to read again instead.
"""

import asyncio
from contextlib import ExitStack
from uuid import UUID

import orjson
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from libs.common.clock import new_id
from libs.common.errors import ForbiddenError, ThoughtflowError, UnauthenticatedError
from libs.common.identity import Identity
from libs.common.metrics import count_refusal
from services.gateway import socket_rules as rules
from services.gateway.errors import RateLimitedError, TooManyStreamsError
from services.gateway.events import Document, farewell
from services.gateway.lifetime import SESSION_REVOKED, Lifetime, left_s
from services.gateway.metrics import connected
from services.gateway.resources import Resources
from services.gateway.socket_rules import Close
from services.gateway.socket_user import SocketUser


class SocketClosedError(Exception):
    """The server ends the connection."""

    def __init__(self, code: Close) -> None:
        super().__init__(code.name)
        self.code = code


class ClientLeftError(Exception):
    """The client ended the connection."""


async def serve_socket(
    res: Resources, scope: Scope, receive: Receive, send: Send, *, client_ip: str
) -> None:
    """Serve one connection from its handshake to its end."""
    query: bytes = scope["query_string"]
    scope["query_string"] = b""  # the server logs it
    await receive()
    if scope["path"] != "/ws":
        await send({"type": "websocket.close"})  # before the handshake: an HTTP error
        return
    chosen = rules.SUBPROTOCOL if rules.SUBPROTOCOL in scope["subprotocols"] else None
    await send({"type": "websocket.accept", "subprotocol": chosen})
    socket = _Socket(res, receive, send, client_ip)
    try:
        with connected("websocket"):
            code = await socket.run(Headers(scope=scope), query)
        await send({"type": "websocket.close", "code": int(code), "reason": code.name.lower()})
    except (ClientLeftError, OSError):  # uvicorn's error for a lost connection is an OSError
        return


class _Socket:
    """One connection; its user is known after the first frame."""

    def __init__(self, res: Resources, receive: Receive, send: Send, client_ip: str) -> None:
        self._res = res
        self._receive = receive
        self._send = send
        self._client_ip = client_ip
        self._clock = asyncio.get_running_loop().time
        self._user: SocketUser | None = None
        self._refused = 0
        self._heard_at = self._clock()
        self._timer: asyncio.Timeout | None = None
        self._watch = ExitStack()
        self._lifetime = Lifetime(
            res.draining, res.sessions, born=self._heard_at, max_age_s=res.settings.stream_max_age_s
        )

    async def run(self, headers: Headers, query: bytes) -> Close:
        """Serve frames until the server has to end the connection, and return why.

        Raises:
            ClientLeftError: the client ended it.
            OSError: it was lost.
        """
        allowed = self._res.settings.allowed_origins
        if not rules.is_welcome(headers.get("origin"), headers.get("host"), allowed):
            return Close.FOREIGN
        with self._lifetime.waking(self._wake), self._watch:
            try:
                await self._begin(rules.ticket_of(query))
                while True:
                    await self._serve(await self._next())
            except SocketClosedError as exc:
                return exc.code
            finally:
                if self._user is not None:
                    self._res.sockets.leave(self._user.identity.user_id)
                    await self._user.end()

    async def _begin(self, ticket: str | None) -> None:
        try:
            await self._admit()
            if ticket is not None:
                token = await self._res.tickets.redeem(ticket)
                if token is None:
                    raise UnauthenticatedError("the ticket was used or is too old; get another")
                await self._authenticate(token)
        except ThoughtflowError as exc:
            await self._refuse(None, exc)
            is_limit = isinstance(exc, RateLimitedError | TooManyStreamsError)
            raise SocketClosedError(Close.LIMITED if is_limit else Close.UNAUTHENTICATED) from exc

    async def _next(self) -> str | None:
        """Return the next frame's text, None for a binary one."""
        while True:
            message = None
            try:
                async with asyncio.timeout_at(self._deadline()) as self._timer:
                    message = await self._receive()
            except TimeoutError:
                pass
            finally:
                self._timer = None
            await self._close_if_due()
            if message is None:
                continue
            if message["type"] == "websocket.disconnect":
                raise ClientLeftError
            self._heard_at = self._clock()
            text: str | None = message.get("text")
            return text

    def _wake(self) -> None:
        if self._timer is not None:
            self._timer.reschedule(self._clock())

    def _deadline(self) -> float:
        if self._res.draining.started or self._is_revoked():
            return self._clock()
        if self._user is None:
            return self._heard_at + rules.AUTH_S
        ends = [self._lifetime.ends_at, self._clock() + left_s(self._user.identity.expires_at)]
        if not self._user.is_listening:
            ends.append(self._heard_at + rules.IDLE_S)
        return min(ends)

    async def _close_if_due(self) -> None:
        now = self._clock()
        if self._user is not None and self._is_revoked():
            await self._part(SESSION_REVOKED, self._user.identity.session_id)
            raise SocketClosedError(Close.UNAUTHENTICATED)
        if (reason := self._lifetime.ending(now)) is not None:
            if self._user is not None and reason == "deploy":
                await self._user.settle()  # each subscription tells its own cursor
            await self._part(reason)
            raise SocketClosedError(Close.RECONNECT)
        silent_s = now - self._heard_at
        if self._user is None:
            if silent_s >= rules.AUTH_S:
                raise SocketClosedError(Close.IDLE)
        elif left_s(self._user.identity.expires_at) <= 0:
            raise SocketClosedError(Close.UNAUTHENTICATED)
        elif not self._user.is_listening and silent_s >= rules.IDLE_S:
            raise SocketClosedError(Close.IDLE)

    def _is_revoked(self) -> bool:
        """Tell whether the session of the last token has ended."""
        user = self._user
        return user is not None and self._res.sessions.has_ended(user.identity.session_id)

    async def _part(self, reason: str, session_id: UUID | None = None) -> None:
        event = farewell(None, reason=reason, session_id=session_id)
        frame = {"op": "event", "subscription": None, "cursor": None, "event": event}
        await self._say(orjson.dumps(frame).decode())

    async def _serve(self, text: str | None) -> None:
        frame_id = rules.id_of(text)
        try:
            answer = await self._act(rules.parse_frame(text))
        except ThoughtflowError as exc:
            await self._refuse(frame_id, exc)
            self._close_if_refused(exc)
        else:
            self._refused = 0
            await self._say(orjson.dumps({"op": "ok", "id": frame_id, **answer}).decode())

    async def _act(self, frame: rules.Frame) -> Document:
        if isinstance(frame, rules.Auth):
            return await self._authenticate(frame.token)
        if self._user is None:
            raise UnauthenticatedError('send {"op": "auth", "token": ...} first')
        await self._admit()
        rules.ensure_in_scope(self._user.identity.scopes, frame)
        return await self._user.act(frame)

    def _close_if_refused(self, error: ThoughtflowError) -> None:
        if isinstance(error, UnauthenticatedError):
            raise SocketClosedError(Close.UNAUTHENTICATED)
        if self._user is None and isinstance(error, TooManyStreamsError):
            raise SocketClosedError(Close.LIMITED)
        self._refused = self._refused + 1 if isinstance(error, RateLimitedError) else 0
        if self._refused >= rules.MAX_REFUSED:
            raise SocketClosedError(Close.LIMITED)

    async def _admit(self, identity: Identity | None = None, token: str | None = None) -> None:
        """Count a frame, or the handshake; raises as `Limiter.admit` does."""
        if identity is None and self._user is not None:
            identity = self._user.identity
        await self._res.limiter.admit(identity, self._client_ip, self._clock(), token=token)

    async def _authenticate(self, token: str) -> Document:
        caller = await self._res.credentials.identify(token, self._client_ip)
        identity, token = caller.identity, caller.token
        await self._admit(identity, token)
        if self._user is None:
            self._res.sockets.join(identity.user_id)
            self._user = SocketUser(
                self._res, identity, token, client_ip=self._client_ip, say=self._say
            )
        elif identity.user_id != self._user.identity.user_id:
            raise ForbiddenError("a connection keeps its user; open another one")
        else:
            self._user.renew(identity, token)
        self._watch.close()
        self._watch.enter_context(self._res.sessions.waking(identity.session_id, self._wake))
        return {"user_id": identity.user_id, "expires_at": identity.expires_at}

    async def _refuse(self, frame_id: str | int | None, error: ThoughtflowError) -> None:
        count_refusal(error)
        problem = {"request_id": str(new_id()), **error.problem()}
        answer = {"op": "error", "id": frame_id, "problem": problem}
        await self._say(orjson.dumps(answer, default=str).decode())

    async def _say(self, frame: str) -> None:
        await self._send({"type": "websocket.send", "text": frame})
