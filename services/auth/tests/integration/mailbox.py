"""A real SMTP server that keeps what it is sent, and refuses on demand."""

import asyncio
import email
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.leaks import note

USER, PASSWORD = "mail", "p4ss@of mail"


class Mailbox:
    """What arrived, and what shall go wrong.

    Attributes:
        url: for SMTP_URL.
        mails: what was taken, oldest first.
        rcpt: the reply to every recipient.
        data: the reply to every message.
        gate: a message waits until it is set.
        arrived: messages that reached the gate.
    """

    def __init__(self, port: int) -> None:
        self.url = f"smtp://127.0.0.1:{port}"
        self.mails: list[EmailMessage] = []
        self.rcpt = "250 OK"
        self.data = "250 OK"
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = 0

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        if self.rcpt.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.rcpt

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        self.arrived += 1
        await self.gate.wait()
        if self.data.startswith("250"):
            content = envelope.content
            assert isinstance(content, bytes)
            mail = email.message_from_bytes(content, policy=default)
            note("code", mail["Subject"].split()[0])
            self.mails.append(mail)
        return self.data


def _check(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
) -> AuthResult:
    good = data == LoginPassword(USER.encode(), PASSWORD.encode())
    return AuthResult(success=good, handled=False)


@asynccontextmanager
async def open_mailbox(*, login: bool = False) -> AsyncIterator[Mailbox]:
    """Run the server; with `login` it takes mail of `USER` only."""
    listener = socket.create_server(("127.0.0.1", 0))
    mailbox = Mailbox(listener.getsockname()[1])
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(
            mailbox,
            hostname="mailbox",
            authenticator=_check,
            auth_required=login,
            auth_require_tls=False,
        ),
        sock=listener,
    )
    try:
        yield mailbox
    finally:
        mailbox.gate.set()
        server.close()
