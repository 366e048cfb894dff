"""A person's authenticator app, for tests to log in with."""

from typing import Any

import httpx2
import pyotp

from libs.common.clock import utc_now
from services.auth.factors import STEP_S
from services.auth.tests.integration.person import Person


class Authenticator:
    """Knows a factor's secret; `recovery_codes` are those that confirming it returned."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.recovery_codes: list[str] = []

    def code(self, steps: int = 0) -> str:
        """Return what the app shows so many steps of 30 s from now."""
        return pyotp.TOTP(self.secret).generate_otp(int(utc_now().timestamp()) // STEP_S + steps)

    def wrong(self) -> str:
        """Return a code that is none of those around now."""
        near = {self.code(steps) for steps in range(-3, 4)}
        return next(code for code in (f"{n:06}" for n in range(10)) if code not in near)


async def add_factor(person: Person, login: dict[str, Any]) -> Authenticator:
    """Begin and confirm a factor; the present code is used up by that, the next is not."""
    begun = await person.call("POST", "/user/me/factor", login)
    assert begun.status_code == 201, begun.text
    app = Authenticator(begun.json()["secret"])
    confirmed = await person.call("POST", "/user/me/factor/confirm", login, {"code": app.code()})
    assert confirmed.status_code == 200, confirmed.text
    app.recovery_codes = confirmed.json()["recovery_codes"]
    return app


async def challenge_of(person: Person) -> str:
    """Log in as far as the one-time code leads."""
    answer = await person.guess(await person.ask_code())
    assert answer.json()["status"] == "factor_required", answer.text
    return str(answer.json()["challenge"])


async def verify(person: Person, challenge: str, **proof: str) -> httpx2.Response:
    """Send a `code` or a `recovery_code`."""
    return await person.client.post("/auth/verify-factor", json={"challenge": challenge, **proof})
