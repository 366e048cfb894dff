"""The models we know by name, and what they cost."""

from collections.abc import Iterable
from dataclasses import dataclass

from libs.common.events import Usage

PRICE_VERSION = "2026-11"
UNPRICED = "unpriced"
"""Price version of a model whose price we do not know: its cost is told as 0."""

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """Micro-dollars per million tokens, so dollars per million times a million.

    Attributes:
        prompt: input, tool results included.
        cached: input that the provider had in its cache.
        output: the reply and the thoughts.
    """

    prompt: int
    cached: int
    output: int


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One model.

    Attributes:
        label: its name for people.
        context_window: input tokens at most, None if we do not know.
    """

    id: str
    label: str
    context_window: int | None = None
    price: Price | None = None


_CARDS = (
    ModelCard("gemini-3.8-flash", "Gemini 3.8 Flash", 1_048_576, Price(500_000, 50_000, 3_000_000)),
    ModelCard(
        "gemini-3.1-pro-preview",
        "Gemini 3.1 Pro",
        1_048_576,
        Price(2_000_000, 200_000, 12_000_000),
    ),
    ModelCard("gemini-2.5-flash", "Gemini 2.5 Flash", 1_048_576, Price(300_000, 30_000, 2_500_000)),
    ModelCard("gemini-2.5-pro", "Gemini 2.5 Pro", 1_048_576, Price(1_250_000, 125_000, 10_000_000)),
)
CATALOGUE = {card.id: card for card in _CARDS}


def card_of(model: str) -> ModelCard:
    """Return what we know of a model, at least its id."""
    return CATALOGUE.get(model) or ModelCard(model, model)


def cost_of(usage: Usage, model: str) -> tuple[int, str]:
    """Return the cost in micro-dollars, rounded to the nearest, and the version of the price."""
    price = card_of(model).price
    if price is None:
        return 0, UNPRICED
    exact = (
        (usage.prompt - usage.cached + usage.tools) * price.prompt
        + usage.cached * price.cached
        + (usage.output + usage.thoughts) * price.output
    )
    return (exact + _MILLION // 2) // _MILLION, PRICE_VERSION


def highest_cost_of(models: Iterable[str], *, prompt_tokens: int, output_tokens: int) -> int:
    """Return what the dearest of the models takes for a call, in micro-dollars.

    One whose price we do not know takes nothing here.
    """
    usage = Usage(prompt=prompt_tokens, output=output_tokens)
    return max(cost_of(usage, model)[0] for model in models)
