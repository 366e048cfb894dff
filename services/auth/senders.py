"""How a one-time code reaches its person."""

from typing import Protocol

from typing_extensions import override

from services.auth.models import Identifier


class Sender(Protocol):
    """Delivers one-time codes."""

    async def send(self, identifier: Identifier, code: str) -> str | None:
        """Send `code`; return it only if whoever asked for it may read it in the answer."""
        ...


class MockSender(Sender):
    """Sends nothing: the code is in the answer. Settings refuse it in production."""

    @override
    async def send(self, identifier: Identifier, code: str) -> str | None:
        return code
