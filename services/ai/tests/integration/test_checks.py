"""What `check` says of Gemini."""

import pytest
from pydantic import SecretStr

from services.ai.checks import check
from services.ai.settings import Settings

pytestmark = pytest.mark.integration


async def lines(settings: Settings) -> list[str]:
    return [finding.line() async for finding in check(settings)]


async def test_a_model_that_gemini_has_is_well(settings: Settings) -> None:
    (line,) = await lines(settings)

    assert line.startswith(f"ok       gemini       {settings.gemini_model} at 127.0.0.1:")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"gemini_base_url": "http://127.0.0.1:1"}, "does not answer"),
        ({"gemini_model": "of-nobody"}, "Name another model in GEMINI_MODEL"),
        ({"gemini_fallback_model": "of-nobody"}, "of-nobody at 127.0.0.1"),
        ({"gemini_api_key": SecretStr("")}, "It refuses GEMINI_API_KEY"),
    ],
)
async def test_what_is_wrong_at_gemini_is_a_problem(
    settings: Settings, changed: dict[str, str | SecretStr], words: str
) -> None:
    *_, last = await lines(settings.model_copy(update=changed))

    assert last.startswith("problem")
    assert words in last
