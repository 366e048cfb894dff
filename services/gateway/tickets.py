"""One-use tickets for WebSockets: browsers cannot set headers there, and tokens do not go in URLs.

Redis holds a ticket's hash and, for as long as the ticket is good, the token that it stands for,
under a key that only the ticket's holder has.
"""

import hashlib
import secrets
from typing import cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.errors import UnavailableError

TICKET_TTL_S = 30
_NONCE = bytes(12)  # each key closes one token, so it needs no other


class TicketStore:
    """Issues tickets and redeems them; both raise UnavailableError while Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def issue(self, token: str) -> str:
        """Return a ticket for `token`, good once and for `TICKET_TTL_S` seconds."""
        ticket = secrets.token_urlsafe(32)
        try:
            await self._redis.set(_key(ticket), _closed(ticket, token), ex=TICKET_TTL_S)
        except RedisError as exc:
            raise UnavailableError("no ticket can be had right now; try again") from exc
        return ticket

    async def redeem(self, ticket: str) -> str | None:
        """Return the token of `ticket`, once."""
        try:
            closed = cast("bytes | None", await self._redis.getdel(_key(ticket)))
        except RedisError as exc:
            raise UnavailableError("no ticket can be used right now; try again") from exc
        return None if closed is None else _opened(ticket, closed)


def _key(ticket: str) -> str:
    return f"ws-ticket:{hashlib.sha256(ticket.encode()).hexdigest()}"


def _closed(ticket: str, token: str) -> bytes:
    return _aead(ticket).encrypt(_NONCE, token.encode(), None)


def _opened(ticket: str, closed: bytes) -> str | None:
    """Return the token; None for what nobody closed with this ticket: Redis may hold garbage."""
    try:
        return _aead(ticket).decrypt(_NONCE, closed, None).decode()
    except InvalidTag:
        return None


def _aead(ticket: str) -> AESGCM:
    return AESGCM(hashlib.sha256(b"token of " + ticket.encode()).digest())
