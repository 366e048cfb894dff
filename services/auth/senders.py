"""The port through which one-time codes leave; `smtp` and `twilio` implement it."""

from typing import Protocol

from services.auth.models import Channel, OtpMessage

SEND_TIMEOUT_S = 10.0
"""Seconds that one sender may take before the next one is tried."""


class SendError(Exception):
    """A provider did not take a message.

    Attributes:
        error: the provider's code or the kind of failure, e.g. `21211` or `TimeoutError`; it is
            logged and stored, so no text of the provider's, which may quote the recipient.
        permanent: the provider will never take this message, so there is no use in trying again.
    """

    def __init__(self, error: str, *, permanent: bool = False) -> None:
        super().__init__(error)
        self.error = error
        self.permanent = permanent


class Sender(Protocol):
    """Hands messages of one channel to one provider.

    Attributes:
        name: of the provider, as it is stored and logged.
        channel: what it serves.
    """

    name: str
    channel: Channel

    async def send(self, message: OtpMessage) -> str:
        """Return the provider's id of the message once it has taken it.

        Raises:
            SendError: it has not, or did not say so in time.
        """
        ...
