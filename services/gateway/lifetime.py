"""When a connection that would stay open has to end: for its age, its login, or a deploy."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from uuid import UUID

from libs.common.identity import LEEWAY_S, Identity

SESSION_REVOKED = "session_revoked"


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


class Sessions:
    """Which logins have ended, as far as this process has heard, and who waits for that."""

    def __init__(self) -> None:
        self._ended: dict[UUID, float] = {}
        self._wakers: dict[UUID, set[Callable[[], None]]] = {}

    @property
    def watched(self) -> list[UUID]:
        """The sessions that have connections here."""
        return list(self._wakers)

    def end(self, session_id: UUID, *, until: float) -> None:
        """Wake the session's connections; each tells its client, and closes.

        Args:
            session_id: the login.
            until: when its last access token is refused anyway, Unix time: remembered till then.
        """
        now = time.time()
        while self._ended and next(iter(self._ended.values())) <= now:
            del self._ended[next(iter(self._ended))]
        self._ended[session_id] = until
        for wake in list(self._wakers.get(session_id, ())):
            wake()

    def has_ended(self, session_id: UUID) -> bool:
        """Tell whether the login was ended while its access tokens are not yet too old."""
        return session_id in self._ended

    @contextmanager
    def waking(self, session_id: UUID, wake: Callable[[], None]) -> Iterator[None]:
        """Call `wake` at the session's end, if that comes while the block runs."""
        wakers = self._wakers.setdefault(session_id, set())
        wakers.add(wake)
        try:
            yield
        finally:
            wakers.discard(wake)
            if not wakers:
                self._wakers.pop(session_id, None)


class Lifetime:
    """How long one connection may live.

    Args:
        draining: of this process.
        sessions: that ended.
        born: now, by a monotonic clock.
        max_age_s: at most; up to a tenth less, so that clients that came together go one by one.
        login: the caller's, with whose token and session it ends; None if somebody else sees to
            that.

    Attributes:
        ends_at: by the same clock.
    """

    def __init__(
        self,
        draining: Draining,
        sessions: Sessions,
        *,
        born: float,
        max_age_s: float,
        login: Identity | None = None,
    ) -> None:
        self.ends_at = born + max_age_s * random.uniform(0.9, 1.0)  # noqa: S311 - no secret
        self._reason = "max_age"
        self._draining = draining
        self._sessions = sessions
        self._login = login
        if login is not None and (token_ends_at := born + left_s(login.expires_at)) < self.ends_at:
            self.ends_at, self._reason = token_ends_at, "token_expired"

    def ending(self, now: float) -> str | None:
        """Return why the connection has to end, if it has."""
        if self._login is not None and self._sessions.has_ended(self._login.session_id):
            return SESSION_REVOKED
        if self._draining.started:
            return "deploy"
        return self._reason if now >= self.ends_at else None

    @contextmanager
    def waking(self, wake: Callable[[], None]) -> Iterator[None]:
        """Call `wake` if a deploy or the session's end comes while the block runs."""
        session: AbstractContextManager[None] = nullcontext()
        if self._login is not None:
            session = self._sessions.waking(self._login.session_id, wake)
        with self._draining.waking(wake), session:
            yield


def left_s(expires_at: int) -> float:
    """Return for how many seconds a token is accepted yet."""
    return expires_at + LEEWAY_S - time.time()
