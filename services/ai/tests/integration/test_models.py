"""Which models there are, and who may choose them."""

from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from libs.common.clock import new_id
from libs.common.events import Entitlements, SubscriptionChanged
from libs.common.testing import TokenIssuer
from services.ai.actions.entitlements import apply_subscription
from services.ai.catalogue import CATALOGUE
from services.ai.resources import Resources
from services.ai.settings import Settings

pytestmark = pytest.mark.integration
PRO = "gemini-2.5-pro"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"basic_models": "gemini-2.5-flash"})


def changed(user_id: UUID, version: int, *models: str) -> SubscriptionChanged:
    return SubscriptionChanged(
        user_id=user_id,
        version=version,
        plan="pro",
        status="active",
        entitlements=Entitlements(messages_per_day=None, models=models),
    )


async def allowed(client: httpx2.AsyncClient) -> set[str]:
    response = await client.get("/model")
    assert response.status_code == 200, response.text
    return {model["id"] for model in response.json()["data"] if model["allowed"]}


async def test_the_catalogue_has_every_model_and_the_default_one_first(
    client: httpx2.AsyncClient, settings: Settings
) -> None:
    [first, *others] = (await client.get("/model")).json()["data"]

    assert first == {
        "id": settings.gemini_model,
        "label": "Gemini 3.8 Flash",
        "context_window": 1_048_576,
        "is_default": True,
        "allowed": True,
    }
    assert {model["id"] for model in (first, *others)} == set(CATALOGUE)
    assert not any(model["is_default"] for model in others)


async def test_a_user_of_whom_billing_never_spoke_has_the_basic_models(
    client: httpx2.AsyncClient, settings: Settings
) -> None:
    assert await allowed(client) == {settings.gemini_model, "gemini-2.5-flash"}


async def test_a_plan_opens_its_models_and_an_older_one_changes_nothing(
    client: httpx2.AsyncClient, res: Resources, user_id: UUID, settings: Settings
) -> None:
    await apply_subscription(res, changed(user_id, 2, PRO, "gemini-9"))
    await apply_subscription(res, changed(user_id, 2))
    await apply_subscription(res, changed(user_id, 1))
    await apply_subscription(res, changed(new_id(), 3))

    assert await allowed(client) == {settings.gemini_model, PRO, "gemini-9"}

    await apply_subscription(res, changed(user_id, 3))

    assert await allowed(client) == {settings.gemini_model}


async def test_the_catalogue_wants_a_token(app: FastAPI) -> None:
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://ai") as client:
        assert (await client.get("/model")).status_code == 401


async def test_a_guest_may_choose_the_default_model_alone(app: FastAPI, user_id: UUID) -> None:
    issuer = TokenIssuer()
    app.state.verifier = issuer.verifier()
    headers = {"Authorization": f"Bearer {issuer.token(user_id, guest=True)}"}
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://ai", headers=headers
    ) as guest:
        assert len(await allowed(guest)) == 1
