import pytest

from tests.e2e.crowd import ALL, Crowd
from tests.e2e.gemini import Gemini
from tests.e2e.stack import Stack

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.chaos,
    pytest.mark.timeout(300),
    pytest.mark.parametrize("stack", ["replicated"], indirect=True),
]


@pytest.mark.parametrize(
    "victim", ["ai", "chat", "auth", "gateway", "gemini", "postgres", "rabbitmq", "valkey"]
)
async def test_every_accepted_message_is_answered_once_whatever_is_killed(
    crowd: Crowd, gemini: Gemini, stack: Stack, victim: str
) -> None:
    """F1, R7: kill -9 of all processes of a kind in the middle of 200 replies."""
    await crowd.start()
    unanswered = await crowd.in_the_middle()
    calls = await gemini.count_calls() if victim == "gemini" else 0  # it forgets them as it dies

    victims = stack.kill(victim)
    await stack.replaced(victims)
    await crowd.settle()

    assert victims
    assert unanswered >= 20
    assert calls + await gemini.count_calls() <= 1.5 * ALL
