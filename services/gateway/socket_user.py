"""What a known user follows and does over one WebSocket."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import structlog
from typing_extensions import override

from libs.common.clock import new_id
from libs.common.errors import ConflictError, NotFoundError, ThoughtflowError, ValidationFailedError
from libs.common.identity import Identity
from services.gateway.asking import ask, header_lines
from services.gateway.errors import TooManyStreamsError
from services.gateway.feed_live import LiveFeed, open_feed
from services.gateway.live import LiveReply, View, open_view
from services.gateway.replay import cursor_of
from services.gateway.resources import Resources
from services.gateway.socket_rules import (
    FEED,
    MAX_SUBSCRIPTIONS,
    Frame,
    SendMessage,
    Stop,
    Subscribe,
    Unsubscribe,
)
from services.gateway.upstream import UpstreamRequest
from services.gateway.wires import frames

log = structlog.stdlib.get_logger()
PART_S = 1.0
"""Seconds that subscriptions get for their last frame."""

Say = Callable[[str], Awaitable[None]]
Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Subscription:
    live: LiveReply | LiveFeed
    task: asyncio.Task[None]


class SocketUser:
    """One user on one connection.

    Args:
        token: plain characters of a token only, as it goes into a header.
        say: sends a frame, waiting while the client does not read.
    """

    def __init__(
        self, res: Resources, identity: Identity, token: str, *, client_ip: str, say: Say
    ) -> None:
        self.identity = identity
        self._res = res
        self._authorization = f"Bearer {token}"
        self._client_ip = client_ip
        self._say = say
        self._subscriptions: dict[str, _Subscription] = {}

    @property
    def is_listening(self) -> bool:
        """Return whether anything is subscribed to."""
        return bool(self._subscriptions)

    def renew(self, identity: Identity, token: str) -> None:
        """Go on with a fresh token of the same user."""
        self.identity = identity
        self._authorization = f"Bearer {token}"
        for subscription in self._subscriptions.values():
            if isinstance(subscription.live, LiveReply):
                subscription.live.renew(self._authorization)

    async def act(self, frame: Frame) -> Answer:
        """Do what a frame says, and return what its answer has besides `op` and `id`.

        Raises:
            ThoughtflowError: it is refused.
        """
        match frame:
            case Subscribe():
                return await self._subscribe(frame)
            case Unsubscribe():
                return await self._unsubscribe(frame.subscription)
            case SendMessage():
                target = f"/chatroom/{frame.chatroom_id}/message"
                return await self._post(target, frame.body, key=frame.idempotency_key)
            case Stop(message_id=None):
                return await self._post(f"/chatroom/{frame.chatroom_id}/stop", None)
            case Stop():
                room = f"/chatroom/{frame.chatroom_id}"
                return await self._post(f"{room}/message/{frame.message_id}/stop", None)
        return {}

    async def settle(self) -> None:
        """Wait for subscriptions that are ending by themselves."""
        if tasks := [subscription.task for subscription in self._subscriptions.values()]:
            await asyncio.wait(tasks, timeout=PART_S)

    async def end(self) -> None:
        """End the subscriptions; one that waits for a reader that reads nothing is cut."""
        ending = list(self._subscriptions.values())
        for subscription in ending:
            subscription.live.leave()
        await self.settle()
        for subscription in ending:
            subscription.task.cancel()

    async def _subscribe(self, frame: Subscribe) -> Answer:
        cursor = cursor_of(frame.after)
        name = FEED if frame.reply_id is None else str(frame.reply_id)
        if (frame.reply_id is None) != (frame.chatroom_id is None):
            raise ValidationFailedError("give chatroom_id and reply_id, or neither for the feed")
        if name in self._subscriptions:
            raise ConflictError("you follow that already on this connection")
        if len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise TooManyStreamsError(f"follow at most {MAX_SUBSCRIPTIONS} at the same time")
        wire = frames(name)
        live: LiveReply | LiveFeed
        if frame.chatroom_id is None or frame.reply_id is None:
            live = await open_feed(self._res, self.identity.user_id, cursor, wire)
        else:
            view = self._view(frame.chatroom_id, frame.reply_id, cursor)
            live = await open_view(self._res, view, wire)
        self._subscriptions[name] = _Subscription(live, asyncio.create_task(self._pump(name, live)))
        return {"subscription": name}

    def _view(self, chatroom_id: UUID, reply_id: UUID, cursor: str | None) -> View:
        return View(
            chatroom_id=chatroom_id,
            reply_id=reply_id,
            user_id=self.identity.user_id,
            authorization=self._authorization,
            request_id=str(new_id()),
            cursor=cursor,
        )

    async def _unsubscribe(self, name: str) -> Answer:
        subscription = self._subscriptions.get(name)
        if subscription is None:
            raise NotFoundError("you do not follow that on this connection")
        subscription.live.leave()
        await asyncio.wait([subscription.task], timeout=PART_S)
        return {"subscription": name}

    async def _pump(self, name: str, live: LiveReply | LiveFeed) -> None:
        try:
            async for lines in live.events():
                for frame in lines.decode().split("\n"):
                    if frame:
                        await self._say(frame)
        except OSError:  # uvicorn's error for a lost connection is one
            log.debug("socket_lost")
        except Exception:
            # The outermost loop of this task: nobody else would hear of it.
            log.exception("subscription_crashed")
        finally:
            del self._subscriptions[name]
            await live.close()

    async def _post(self, target: str, body: Answer | None, *, key: str | None = None) -> Answer:
        """Return chat's answer, which is the same as over HTTP."""
        request_id = str(new_id())
        headers = header_lines(
            self._authorization, request_id, client_ip=self._client_ip, idempotency_key=key
        )
        payload = b"" if body is None else orjson.dumps(body)
        request = UpstreamRequest("POST", target.encode(), headers, payload)
        answer = await ask(self._res.upstreams["chat"], request)
        document = answer.document()
        if answer.status >= 400:
            raise RefusedError(document)
        return {"status": answer.status, "data": document}


class RefusedError(ThoughtflowError):
    """A service refused a frame; its problem document is passed on as it is."""

    def __init__(self, document: Answer) -> None:
        super().__init__(str(document.get("detail", "")))
        self._document = document

    @override
    def problem(self) -> Answer:
        return self._document
