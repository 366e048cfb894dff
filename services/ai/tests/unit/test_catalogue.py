import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.events import Usage
from services.ai.catalogue import CATALOGUE, PRICE_VERSION, UNPRICED, cost_of

TOKENS = st.integers(0, 10_000_000)


def test_a_cost_is_that_of_the_price_list() -> None:
    """gemini-2.5-flash: per million tokens $0.30 prompt, $0.03 cached, $2.50 output."""
    usage = Usage(prompt=1000, cached=400, output=100, thoughts=50, tools=10, total=1160)
    # 610 x 0.30 + 400 x 0.03 + 150 x 2.50 = 570 micro-dollars
    assert cost_of(usage, "gemini-2.5-flash") == (570, PRICE_VERSION)


def test_a_model_without_a_price_costs_nothing_that_we_know_of() -> None:
    assert cost_of(Usage(prompt=1000, total=1000), "gemini-9") == (0, UNPRICED)


@pytest.mark.parametrize("model", CATALOGUE)
@given(prompt=TOKENS, cached=TOKENS, output=TOKENS, thoughts=TOKENS, tools=TOKENS)
def test_a_cost_is_whole_and_rounded_to_the_nearest(
    model: str, prompt: int, cached: int, output: int, thoughts: int, tools: int
) -> None:
    usage = Usage(
        prompt=prompt + cached, cached=cached, output=output, thoughts=thoughts, tools=tools
    )
    price = CATALOGUE[model].price
    assert price is not None
    exact = (prompt + tools) * price.prompt + cached * price.cached
    exact += (output + thoughts) * price.output

    cost, _ = cost_of(usage, model)

    assert abs(cost * 1_000_000 - exact) <= 500_000
