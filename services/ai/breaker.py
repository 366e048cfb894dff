"""Circuit breaker: leave a model alone that fails, and find out with one call whether it is back.

Closed, it lets every call through and counts failures in a row. Open, it lets none through. After
the pause it is half open: one call may try, and decides for all.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

FAILURES = 5
WINDOW_S = 30.0
PAUSE_S = 15.0


@dataclass(slots=True)
class Breaker:
    """The state of one model.

    Attributes:
        clock: seconds of a clock that never goes back.
        failures: failures in a row, within `window_s` seconds, that open it.
        pause_s: seconds that it stays open, and that a trial call may take to report.
    """

    clock: Callable[[], float]
    failures: int
    window_s: float
    pause_s: float
    _failed_at: deque[float] = field(default_factory=deque)
    _shut_until: float | None = None

    def wait_s(self) -> float:
        """Return 0 if a call may be made now, else seconds after which to ask again.

        While half open, the 0 is given to one caller per pause: it has to make the call.
        """
        if self._shut_until is None:
            return 0.0
        now = self.clock()
        if now < self._shut_until:
            return self._shut_until - now
        self._shut_until = now + self.pause_s  # a trial that never reports is tried again
        return 0.0

    def succeeded(self) -> None:
        """Report that the model answered; that closes it, whoever made the call."""
        self._failed_at.clear()
        self._shut_until = None

    def failed(self) -> None:
        """Report that the model was away or overloaded."""
        now = self.clock()
        if self._shut_until is not None:
            self._shut_until = max(self._shut_until, now + self.pause_s)
            return
        self._failed_at.append(now)
        while self._failed_at[0] < now - self.window_s:
            self._failed_at.popleft()
        if len(self._failed_at) >= self.failures:
            self._shut_until = now + self.pause_s
            self._failed_at.clear()


class Breakers:
    """One breaker per model, made when it is first asked for."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._by_model: dict[str, Breaker] = {}

    def of(self, model: str) -> Breaker:
        """Return the model's breaker."""
        if model not in self._by_model:
            self._by_model[model] = Breaker(self._clock, FAILURES, WINDOW_S, PAUSE_S)
        return self._by_model[model]
