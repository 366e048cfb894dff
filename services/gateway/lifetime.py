"""When a connection that would stay open has to end: for its age, its token, or a deploy."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from libs.common.identity import LEEWAY_S


class Draining:
    """Once started it never ends; whoever is woken looks at `started`."""

    def __init__(self) -> None:
        self.started = False
        self._wakers: set[Callable[[], None]] = set()

    def start(self) -> None:
        """Wake every connection; each tells its client where to go on, and closes."""
        self.started = True
        for wake in list(self._wakers):
            wake()

    @contextmanager
    def waking(self, wake: Callable[[], None]) -> Iterator[None]:
        """Call `wake` at the start, if that comes while the block runs."""
        self._wakers.add(wake)
        try:
            yield
        finally:
            self._wakers.discard(wake)


class Lifetime:
    """How long one connection may live.

    Args:
        draining: of this process.
        born: now, by a monotonic clock.
        max_age_s: at most; up to a tenth less, so that clients that came together go one by one.
        expires_at: when the token expires that opened it, Unix time, seconds; None if somebody else
            sees to that.

    Attributes:
        ends_at: by the same clock.
    """

    def __init__(
        self, draining: Draining, *, born: float, max_age_s: float, expires_at: int | None = None
    ) -> None:
        self.ends_at = born + max_age_s * random.uniform(0.9, 1.0)  # noqa: S311 - no secret
        self._reason = "max_age"
        self._draining = draining
        if expires_at is not None and (token_ends_at := born + left_s(expires_at)) < self.ends_at:
            self.ends_at, self._reason = token_ends_at, "token_expired"

    def ending(self, now: float) -> str | None:
        """Return why the connection has to end, if it has."""
        if self._draining.started:
            return "deploy"
        return self._reason if now >= self.ends_at else None


def left_s(expires_at: int) -> float:
    """Return for how many seconds a token is accepted yet."""
    return expires_at + LEEWAY_S - time.time()
