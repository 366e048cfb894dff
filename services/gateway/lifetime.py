"""When a connection that would stay open has to end: it is old, or this process is ending."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager


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

    Attributes:
        ends_at: by the same clock.
    """

    def __init__(self, draining: Draining, *, born: float, max_age_s: float) -> None:
        self.ends_at = born + max_age_s * random.uniform(0.9, 1.0)  # noqa: S311 - no secret
        self._draining = draining

    def ending(self, now: float) -> str | None:
        """Return why the connection has to end, if it has."""
        if self._draining.started:
            return "deploy"
        return "max_age" if now >= self.ends_at else None
