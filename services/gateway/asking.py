"""One question to a service, with the whole answer in memory."""

from dataclasses import dataclass
from typing import Any

import orjson

from services.gateway.errors import BrokenAnswerError
from services.gateway.upstream import BODY_IDLE_TIMEOUT_S, Upstream, UpstreamRequest

MAX_ANSWER = 8 << 20
"""Bytes of an answer at most."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service answered; `headers` have names in lower case."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def document(self) -> dict[str, Any]:
        """Return the body; raises BrokenAnswerError where it is no JSON object."""
        try:
            document = orjson.loads(self.body)
        except orjson.JSONDecodeError as exc:
            raise BrokenAnswerError("the service gave no usable answer; try again") from exc
        if not isinstance(document, dict):
            raise BrokenAnswerError("the service gave no usable answer; try again")
        return document


async def ask(upstream: Upstream, request: UpstreamRequest) -> Answer:
    """Return the whole answer to `request`.

    Raises:
        BrokenAnswerError: it is longer than `MAX_ANSWER`.
        ThoughtflowError: as `Upstream.send` and `UpstreamResponse.read` do.
    """
    response = await upstream.send(request)
    body = bytearray()
    try:
        while chunk := await response.read(BODY_IDLE_TIMEOUT_S):
            body += chunk
            if len(body) > MAX_ANSWER:
                raise BrokenAnswerError("the service answered at too great length")
    finally:
        response.close()
    return Answer(response.status, response.headers, bytes(body))


def header_lines(
    authorization: str,
    request_id: str,
    *,
    client_ip: str | None = None,
    idempotency_key: str | None = None,
) -> bytes:
    """Return the header lines of a request that the gateway makes for a caller.

    The values come from header fields, or are checked to be such: none has a line break.
    """
    lines = {
        "authorization": authorization,
        "x-request-id": request_id,
        "content-type": "application/json",
        "x-forwarded-for": client_ip,
        "idempotency-key": idempotency_key,
    }
    return "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value).encode(
        "latin-1"
    )
