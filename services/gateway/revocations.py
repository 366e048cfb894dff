"""Hearing of ended sessions: every process ends its own connections of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import structlog
from redis.exceptions import RedisError

from libs.common.background import in_background
from services.gateway.hub import Hub, Listener
from services.gateway.lifetime import Sessions
from services.gateway.store import REVOCATIONS, RevocationStore

log = structlog.stdlib.get_logger()
_SILENCE_S = 3600.0
_RETRY_S = 1.0


@asynccontextmanager
async def hearing(hub: Hub, store: RevocationStore, sessions: Sessions) -> AsyncIterator[None]:
    """End sessions in this process as they are revoked, while the block runs.

    Redis away: nothing is heard, and connections end with their token. Once it is back, the
    sessions that have connections here are looked up.
    """
    async with in_background(_hear(hub, store, sessions)):
        yield


async def _hear(hub: Hub, store: RevocationStore, sessions: Sessions) -> None:
    listener = await hub.join(REVOCATIONS)
    behind = False
    while True:
        await listener.wait(_RETRY_S if behind else _SILENCE_S)
        behind = listener.catch_up() or behind
        _take(listener, sessions)
        if behind:
            try:
                ended = await store.find_revoked(sessions.watched)
            except (RedisError, ValueError) as exc:
                log.warning("revocations_unreadable", error=type(exc).__name__)
                continue
            behind = False
            for session_id, until in ended.items():
                sessions.end(session_id, until=until)


def _take(listener: Listener, sessions: Sessions) -> None:
    for entry in listener.take():
        session_id, _, until = entry.decode(errors="replace").partition(" ")
        try:
            sessions.end(UUID(session_id), until=float(until))
        except ValueError:
            log.warning("revocation_unreadable")  # not one of ours
