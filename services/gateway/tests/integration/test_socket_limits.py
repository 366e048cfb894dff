"""What bounds a user's WebSockets."""

import pytest

from libs.common.clock import new_id
from services.gateway import presence
from services.gateway.socket_rules import MAX_REFUSED, MAX_SUBSCRIPTIONS
from services.gateway.tests.integration.conftest import FakeServices, Start
from services.gateway.tests.integration.socket_client import socket_to
from services.gateway.tests.integration.stage import Stage
from services.gateway.tests.integration.test_sockets import stage, subscribe, token

pytestmark = pytest.mark.integration
__all__ = ["stage"]


async def test_frames_count_as_requests_and_too_many_close_with_4429(
    start_gateway: Start, fakes: FakeServices
) -> None:
    user_id = new_id()
    headers = {"Authorization": f"Bearer {fakes.token(user_id)}"}
    async with (
        start_gateway(user_requests_per_minute=1, user_burst=3) as client,
        socket_to(client, fakes.token(user_id)) as socket,
    ):
        answers = [await socket.ask(op="ping") for _ in range(3)]
        over_http = await client.get("/user/me", headers=headers)
        for _ in range(MAX_REFUSED):
            await socket.send(op="ping")
        code = await socket.close_code()

    assert [answer["op"] for answer in answers] == ["ok", "ok", "error"]
    assert answers[-1]["problem"]["code"] == "rate_limited"
    assert over_http.status_code == 429
    assert code == 4429


async def test_a_connection_too_many_is_closed_with_4429(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "MAX_SOCKETS", 1)
    async with socket_to(stage.client, token(stage)), socket_to(stage.client) as second:
        await second.send(op="auth", token=token(stage))
        assert await second.close_code() == 4429
    async with socket_to(stage.client, token(stage)) as third:
        assert (await third.ask(op="ping"))["op"] == "ok"


async def test_subscriptions_are_bounded(stage: Stage) -> None:
    async with socket_to(stage.client, token(stage)) as socket:
        for _ in range(MAX_SUBSCRIPTIONS):
            stage.reply_id = new_id()
            stage.set_status("running")
            assert (await subscribe(socket, stage))["op"] == "ok"
        twice = await subscribe(socket, stage)
        stage.reply_id = new_id()
        stage.set_status("running")
        answer = await subscribe(socket, stage)

    assert twice["problem"]["code"] == "conflict"
    assert answer["problem"]["code"] == "too_many_streams"
