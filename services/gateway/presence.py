"""How many WebSockets each user has open in this process."""

from uuid import UUID

from services.gateway.errors import TooManyStreamsError

MAX_SOCKETS = 20
"""Of one user, per process."""


class Presence:
    """Counts; whoever joined leaves once."""

    def __init__(self) -> None:
        self._open: dict[UUID, int] = {}

    def join(self, user_id: UUID) -> None:
        """Count one more.

        Raises:
            TooManyStreamsError: the user has `MAX_SOCKETS`.
        """
        count = self._open.get(user_id, 0)
        if count >= MAX_SOCKETS:
            raise TooManyStreamsError("close one of your other connections first")
        self._open[user_id] = count + 1

    def leave(self, user_id: UUID) -> None:
        """Count one less."""
        if self._open[user_id] == 1:
            del self._open[user_id]
        else:
            self._open[user_id] -= 1
