"""Failures of the API on demand."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from starlette.requests import Request

from deploy.local.stripe.errors import (
    CardError,
    ConflictError,
    RateLimitedError,
    ServerError,
    ServiceUnavailableError,
    StripeError,
    UnauthenticatedError,
)

Status = Literal[401, 402, 409, 429, 500, 503, "hang"]

ERRORS: dict[int | str, StripeError] = {
    401: UnauthenticatedError("Invalid API Key provided (injected fault)."),
    402: CardError("Your card was declined (injected fault)."),
    409: ConflictError("Another request holds this object (injected fault); try again."),
    429: RateLimitedError("Too many requests (injected fault); slow down."),
    500: ServerError("An error happened on our side (injected fault)."),
    503: ServiceUnavailableError("Stripe is not available (injected fault)."),
}
_POLL_S = 0.05


@dataclass
class Fault:
    """One failure.

    Attributes:
        status: what to answer, or `hang` to answer nothing at all.
        times: for so many requests.
        path: only those whose path begins with it; empty means every one under /v1.
        after: let the request take effect first, so that only its answer is lost.
    """

    status: Status
    times: int
    path: str
    after: bool


class Faults:
    """The failures that are still to happen, in the order in which they were asked for.

    `hanging` counts the requests that wait for an answer they will not get.

    Args:
        stopping: tells that the server wants to end, which lets hanging requests go.
    """

    def __init__(self, stopping: Callable[[], bool]) -> None:
        self.waiting: list[Fault] = []
        self.hanging = 0
        self._stopping = stopping

    def take(self, path: str) -> Fault | None:
        """Return the first fault for this path, and count it."""
        for fault in self.waiting:
            if path.startswith(fault.path):
                fault.times -= 1
                if fault.times <= 0:
                    self.waiting.remove(fault)
                return fault
        return None

    async def strike(self, fault: Fault, request: Request) -> StripeError:
        """Return the failure; for a hanging one, only when the client or the server gives up."""
        if fault.status != "hang":
            return ERRORS[fault.status]
        self.hanging += 1
        try:
            # Neither the server nor the client says when it gives up, so both are asked.
            while (  # noqa: ASYNC110
                not self._stopping() and not await request.is_disconnected()
            ):
                await asyncio.sleep(_POLL_S)
        finally:
            self.hanging -= 1
        return ERRORS[503]
