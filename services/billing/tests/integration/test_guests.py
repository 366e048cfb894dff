from uuid import UUID

import pytest
from fastapi import FastAPI
from typing_extensions import override

from libs.common.clock import new_id
from libs.common.identity import Identity, TokenVerifier
from services.billing.tests.integration.system import Billing, Emulator

pytestmark = pytest.mark.integration


class TokensAreGuestIds(TokenVerifier):
    """Signatures of tokens are tested in libs."""

    @override
    async def verify(self, token: str) -> Identity:
        return Identity(UUID(token), new_id(), "user", 2**40, guest=True)


async def test_a_guest_buys_nothing_and_is_told_what_guests_get(
    app: FastAPI, billing: Billing, emulator: Emulator, user_id: UUID
) -> None:
    app.state.verifier = TokensAreGuestIds("http://unused")
    headers = {"Authorization": f"Bearer {user_id}"}

    refused = await billing.http.post("/subscribe/pro", headers=headers)
    status = (await billing.http.get("/subscription/status", headers=headers)).json()

    assert (refused.status_code, refused.json()["code"]) == (403, "account_required")
    assert status["plan"] == "basic"
    assert status["entitlements"]["messages_per_day"] == 5
