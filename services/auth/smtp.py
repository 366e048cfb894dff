"""E-mail, through one SMTP server."""

import ssl
from email.message import EmailMessage
from email.utils import parseaddr
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

import aiosmtplib
from typing_extensions import override

from services.auth.models import Channel, OtpMessage
from services.auth.senders import SEND_TIMEOUT_S, Sender, SendError

_PERMANENT = 500
"""The first SMTP reply code that asks not to try again (RFC 5321, section 4.2.1)."""


class SmtpSender(Sender):
    """Sends through `url`; what leaves the machine is encrypted or not sent."""

    channel: Channel = "email"

    def __init__(self, url: str, *, sender: str) -> None:
        """Remember where to; `url` is `smtp://` (STARTTLS) or `smtps://`."""
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._tls = parts.scheme == "smtps"
        self._port = parts.port or (465 if self._tls else 587)
        self._user = unquote(parts.username) if parts.username else None
        self._password = unquote(parts.password) if parts.password else None
        self._sender = sender
        self._domain = parseaddr(sender)[1].rpartition("@")[2]
        self.name = f"smtp:{self._host}"

    @override
    async def send(self, message: OtpMessage) -> str:
        # The same id at each attempt, by which mailboxes recognise a repetition.
        mail = EmailMessage()
        mail["From"] = self._sender
        mail["To"] = message.to.value
        mail["Subject"] = message.subject
        mail["Message-ID"] = f"<{message.id}@{self._domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text)
        server = aiosmtplib.SMTP(
            hostname=self._host,
            port=self._port,
            username=self._user,
            password=self._password,
            use_tls=self._tls,
            start_tls=None if self._tls or _is_loopback(self._host) else True,
            timeout=SEND_TIMEOUT_S,
        )
        try:
            await server.connect()
            await server.send_message(mail)
        except aiosmtplib.SMTPRecipientsRefused as exc:
            code = exc.recipients[0].code
            raise SendError(str(code), permanent=code >= _PERMANENT) from None
        except aiosmtplib.SMTPDataError as exc:
            raise SendError(str(exc.code), permanent=exc.code >= _PERMANENT) from None
        except aiosmtplib.SMTPResponseException as exc:  # ours to mend: wrong password, say
            raise SendError(str(exc.code)) from None
        except (aiosmtplib.SMTPException, ssl.SSLError, OSError) as exc:
            raise SendError(type(exc).__name__) from None
        finally:
            server.close()  # no goodbye: a server that hangs would not answer that either
        return str(mail["Message-ID"])


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
