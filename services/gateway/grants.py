"""What plans grant at the edge: kept in Redis, where the script that admits requests finds it.

Billing announces it. Where Redis has lost it, or never had it, billing is asked behind the caller's
back, whose requests have the defaults until then.
"""

import asyncio
from uuid import UUID

import structlog
from redis.exceptions import RedisError

from libs.common.clock import new_id
from libs.common.errors import ThoughtflowError
from libs.common.events import SubscriptionChanged
from services.gateway.asking import ask, header_lines
from services.gateway.store import AdmissionStore
from services.gateway.upstream import Upstream, UpstreamRequest

log = structlog.stdlib.get_logger()
MAX_ASKING = 8
"""Questions to billing at the same time; who is not asked about now is at the next request."""

PAUSE_S = 5.0
"""Seconds for which billing is left alone after it gave no answer."""

_ASKED = 0
"""Version of what billing answers: whatever it announces is newer."""


class Grants:
    """Keeps what plans grant, and asks for what is missing."""

    def __init__(self, store: AdmissionStore, billing: Upstream) -> None:
        self._store = store
        self._billing = billing
        self._asking: dict[UUID, asyncio.Task[None]] = {}
        self._not_before = 0.0

    async def keep(self, event: SubscriptionChanged) -> None:
        """Keep what was announced.

        Raises:
            redis.exceptions.RedisError: Redis is away.
        """
        await self._store.grant(
            event.user_id,
            version=event.version,
            plan=event.plan,
            per_minute=event.entitlements.requests_per_minute,
            burst=event.entitlements.burst,
        )

    def look_up(self, user_id: UUID, token: str) -> None:
        """Ask billing in the background, as the user, unless that is being done or has failed."""
        is_early = asyncio.get_running_loop().time() < self._not_before
        if is_early or user_id in self._asking or len(self._asking) >= MAX_ASKING:
            return
        task = asyncio.create_task(self._ask(user_id, token))
        self._asking[user_id] = task
        task.add_done_callback(lambda _: self._asking.pop(user_id))

    async def aclose(self) -> None:
        """Give up what is being asked."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, user_id: UUID, token: str) -> None:
        headers = header_lines(f"Bearer {token}", str(new_id()))
        question = UpstreamRequest("GET", b"/subscription/status", headers)
        try:
            answer = await ask(self._billing, question)
            told = answer.document()
            granted = told["entitlements"]
            await self._store.grant(
                user_id,
                version=_ASKED,
                plan=told["plan"],
                per_minute=granted.get("requests_per_minute"),
                burst=granted.get("burst"),
            )
        except (ThoughtflowError, RedisError, KeyError, AttributeError) as exc:
            self._not_before = asyncio.get_running_loop().time() + PAUSE_S
            log.warning("grants_unknown", error=type(exc).__name__)
