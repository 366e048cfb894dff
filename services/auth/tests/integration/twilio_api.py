"""Twilio's Messages API, as far as sending goes: its form, its answers and its errors."""

import asyncio
import re
import socket
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.leaks import note

ACCOUNT, TOKEN = "AC00000000000000000000000000000001", "a-token-of-twilio-tests"
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_MEANINGS = {
    20003: (401, "Authenticate"),
    20429: (429, "Too Many Requests"),
    20500: (500, "An internal server error has occurred"),
    21211: (400, "Invalid 'To' Phone Number: {to}"),
    21408: (400, "Permission to send an SMS has not been enabled for the region of {to}"),
    21602: (400, "Message body is required."),
    21603: (400, "A 'From' or 'MessagingServiceSid' parameter is required."),
    21610: (400, "Attempt to send to unsubscribed recipient {to}"),
    21612: (400, "The 'To' phone number: {to}, is not currently reachable using the 'From'."),
}
"""HTTP status and message by error code; the messages quote the number, as Twilio's do."""


class TwilioApi:
    """What was sent, and what shall go wrong.

    Attributes:
        url: for TWILIO_API_BASE.
        sent: forms of the messages that were taken, oldest first.
        refusals: error codes by `From` or `MessagingServiceSid`.
        gate: a request waits until it is set.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.sent: list[dict[str, str]] = []
        self.refusals: dict[str, int] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.app = Starlette(
            routes=[
                Route("/2010-04-01/Accounts/{sid}/Messages.json", self._create, methods=["POST"])
            ]
        )

    async def _create(self, request: Request) -> JSONResponse:
        await self.gate.wait()
        form = dict(parse_qsl((await request.body()).decode(), strict_parsing=True))
        code = self._refusal(request, form)
        if code is not None:
            status, message = _MEANINGS[code]
            problem = {
                "code": code,
                "message": message.format(to=form.get("To")),
                "more_info": f"https://www.twilio.com/docs/errors/{code}",
                "status": status,
            }
            return JSONResponse(problem, status)
        self.sent.append(form)
        note("phone number", form["To"])
        for code in re.findall(r"\d{6}", form["Body"]):
            note("code", code)
        message_sid = f"SM{len(self.sent):032}"
        return JSONResponse(
            {
                "sid": message_sid,
                "account_sid": ACCOUNT,
                "status": "queued",
                "to": form["To"],
                "from": form.get("From"),
                "body": form["Body"],
                "num_segments": "1",
                "error_code": None,
                "error_message": None,
            },
            201,
        )

    def _refusal(self, request: Request, form: dict[str, str]) -> int | None:
        basic = b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {basic}":
            return 20003
        sender = form.get("MessagingServiceSid") or form.get("From")
        if sender is None:
            return 21603
        if not form.get("Body"):
            return 21602
        period = int(form.get("ValidityPeriod", "36000"))
        if not _E164.fullmatch(form.get("To", "")) or not 1 <= period <= 36_000:
            return 21211
        return self.refusals.get(sender)


@asynccontextmanager
async def open_twilio() -> AsyncIterator[TwilioApi]:
    """Run the API on a free port."""
    listener = socket.create_server(("127.0.0.1", 0))
    api = TwilioApi(listener.getsockname()[1])
    config = uvicorn.Config(api.app, log_level="critical", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve([listener]))
    try:
        yield api
    finally:
        api.gate.set()
        server.should_exit = server.force_exit = True
        await task
        listener.close()
