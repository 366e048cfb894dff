"""SMS, through Twilio's Messages API.

Not Twilio Verify, which makes codes of its own and counts sends and guesses by its own rules: a
code that is sent again, five guesses counted here, and a second provider for the same code would
not work with it.
"""

from urllib.parse import quote

import httpx2
from typing_extensions import override

from libs.common.clock import utc_now
from services.auth.models import Channel, OtpMessage
from services.auth.senders import Sender, SendError

_CREATED = 201
_BAD_REQUEST = 400
"""Twilio's answer to what is wrong with this very message: no such number, opted out, landline."""


class TwilioSender(Sender):
    """Sends from `sender`, a number or a messaging service.

    The client's timeouts bound a send.
    """

    channel: Channel = "sms"

    def __init__(
        self,
        http: httpx2.AsyncClient,
        *,
        base: str,
        account_sid: str,
        auth_token: str,
        sender: str,
    ) -> None:
        self._http = http
        self._url = f"{base}/2010-04-01/Accounts/{quote(account_sid, safe='')}/Messages.json"
        self._auth = httpx2.BasicAuth(account_sid, auth_token)
        self._from = {"MessagingServiceSid" if sender.startswith("MG") else "From": sender}
        self.name = f"twilio:{sender}"

    @override
    async def send(self, message: OtpMessage) -> str:
        left_s = int((message.expires_at - utc_now()).total_seconds())
        form = {
            **self._from,
            "To": message.to.value,
            "Body": message.text,
            "ValidityPeriod": str(max(1, left_s)),  # a code that has expired is of no use
        }
        try:
            answer = await self._http.post(self._url, data=form, auth=self._auth)
            body = answer.json()
        except (httpx2.HTTPError, ValueError) as exc:
            raise SendError(type(exc).__name__) from None
        if answer.status_code != _CREATED:
            code = body.get("code") if isinstance(body, dict) else None
            raise SendError(
                str(code or answer.status_code), permanent=answer.status_code == _BAD_REQUEST
            )
        return str(body["sid"])
