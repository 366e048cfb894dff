"""Ai's decisions: pure functions, no I/O, no clock."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from libs.common.events import Turn, Usage
from services.ai.errors import (
    BudgetExceededError,
    ModelError,
    ModelOverloadedError,
    ModelUnavailableError,
    ReplyTimedOutError,
)
from services.ai.models import Period

MAX_PAUSE_S = 20.0
FIRST_PAUSE_S = 0.5
RETRY_WINDOW_S = 25.0
"""Seconds after a reply's begin in which the model may be asked again: nobody waits for ever."""

FALLBACK_ATTEMPTS = 2
CHARACTERS_PER_TOKEN = 4
BYTES_PER_TOKEN = 3
MAX_TITLE = 80
MAX_SUMMARY = 8000
MAX_REPLY = 250_000
"""Characters of a reply at most: with four bytes each it stays below 1 MB."""

SUMMARY_HEAD = "[Summary of our conversation so far, for your information]\n"
_QUOTES = "\"'`*_#“”„\u2018\u2019«» \t"


def ensure_wanted(asked_at: datetime, *, now: datetime, deadline_s: int) -> None:
    """Refuse to ask a model for what chat has failed meanwhile: nobody would read the answer.

    Raises:
        ReplyTimedOutError: it was the message's turn more than `deadline_s` seconds ago.
    """
    if now - asked_at > timedelta(seconds=deadline_s):
        raise ReplyTimedOutError("the reply took too long; send the message again")


def ensure_affordable(refused: Period | None, *, now: datetime) -> None:
    """Refuse what is not within a budget.

    Raises:
        BudgetExceededError: `refused` names one.
    """
    if refused == "month":
        again = (now.replace(day=1) + timedelta(days=32)).replace(day=1)
        raise BudgetExceededError(
            "your plan's budget for this month is used up; more from "
            f"{again:%Y-%m-%d} 00:00 UTC, or at once with Pro: POST /subscribe/pro"
        )
    if refused == "day":
        raise BudgetExceededError(
            "all that may be spent on replies today is spent; send it again after 00:00 UTC"
        )


def pause_before_retry_s(error: ModelError, *, tries: int, jitter: float) -> float:
    """Return how long to wait before the model is asked again.

    Doubles from half a second, with full jitter on its upper half; where the provider said when to
    come back, not earlier than that.

    Args:
        error: what the last try ended in.
        tries: tries made so far, from 1.
        jitter: a random number from 0 to 1.

    Returns:
        Seconds, at most `MAX_PAUSE_S`.
    """
    backoff = FIRST_PAUSE_S * 2.0 ** (tries - 1) * (1 + jitter) / 2
    return min(MAX_PAUSE_S, max(backoff, error.retry_after_s or 0.0))


def may_retry(error: ModelError, *, tries: int, attempts: int, elapsed_s: float) -> bool:
    """Tell whether the same model is worth asking again after `tries` tries of `attempts`."""
    too_late = elapsed_s + (error.retry_after_s or 0.0) > RETRY_WINDOW_S
    waits_too_long = error.retry_after_s is not None and error.retry_after_s > MAX_PAUSE_S
    return error.transient and tries < attempts and not waits_too_long and not too_late


def tells_of_trouble(error: ModelError) -> bool:
    """Tell whether the error speaks against the model as such, not only against this call."""
    return isinstance(error, ModelUnavailableError | ModelOverloadedError)


def models_to_try(first: str, fallback: str, *, attempts: int) -> list[tuple[str, int]]:
    """Return which models to ask, in their order, each with how often."""
    others = [(fallback, FALLBACK_ATTEMPTS)] if fallback not in {"", first} else []
    return [(first, attempts), *others]


def conversation(
    *, summary: str, history: Sequence[Turn], content: str, budget_tokens: int
) -> tuple[Turn, ...]:
    """Return the turns of a prompt: the summary, the newest history that fits, the message.

    The message is never cut, and what was told of older turns goes before the newest history. What
    remains of the history begins with a user's turn, as Gemini wants it.
    """
    room = budget_tokens * CHARACTERS_PER_TOKEN - len(content)
    told = SUMMARY_HEAD + summary if summary else ""
    if len(told) > room:
        told = ""
    room -= len(told)
    kept = len(history)
    while kept and len(history[kept - 1].content) <= room:
        kept -= 1
        room -= len(history[kept].content)
    while kept < len(history) and history[kept].role != "user":
        kept += 1
    head = (Turn(role="user", content=told),) if told else ()
    return (*head, *history[kept:], Turn(role="user", content=content))


def transcript(summary: str, turns: Sequence[Turn], *, most: int) -> str:
    """Return a conversation as one text; its oldest part is left out where it is too long.

    Args:
        summary: what was told of it before.
        turns: oldest first.
        most: characters at most.
    """
    names = {"user": "User", "assistant": "Assistant"}
    told = [f"Earlier summary: {summary}"] if summary else []
    told += [f"{names[turn.role]}: {turn.content}" for turn in turns]
    return "\n\n".join(told)[-most:]


def may_choose(model: str, *, granted: Sequence[str], default: str) -> bool:
    """Tell whether a user with these models may choose `model`; the default one is everybody's."""
    return model == default or model in granted


def tokens_in(characters: int) -> int:
    """Return about how many tokens a text has."""
    return -(-characters // CHARACTERS_PER_TOKEN)


def most_tokens_in(texts: Iterable[str]) -> int:
    """Return how many tokens texts have at most, by and large.

    A token has four or five letters of English, and about one character of Chinese, of three bytes.
    """
    return -(-sum(len(text.encode()) for text in texts) // BYTES_PER_TOKEN)


def estimated_usage(told: Usage, *, prompt_length: int, text_length: int) -> Usage:
    """Return what a call that was broken off has probably cost.

    Args:
        told: what the provider had told by then; never less than that.
        prompt_length: characters of the prompt, used where the provider did not count it.
        text_length: characters of the reply that arrived.
    """
    prompt = told.prompt or tokens_in(prompt_length)
    output = max(told.output, tokens_in(text_length))
    total = prompt + output + told.thoughts + told.tools
    return told.model_copy(
        update={"prompt": prompt, "output": output, "total": max(total, told.total)}
    )


def added(first: Usage, second: Usage) -> Usage:
    """Return the sum."""
    return Usage(
        prompt=first.prompt + second.prompt,
        cached=first.cached + second.cached,
        output=first.output + second.output,
        thoughts=first.thoughts + second.thoughts,
        tools=first.tools + second.tools,
        total=first.total + second.total,
    )


def title_from(text: str) -> str:
    """Return the model's words as a title: one line, no quotes or marks around it, not too long.

    Returns:
        At most `MAX_TITLE` characters, possibly none.
    """
    lines = [line for line in text.splitlines() if line.strip(_QUOTES)]
    title = " ".join(lines[0].split()).strip(_QUOTES) if lines else ""
    if len(title) <= MAX_TITLE:
        return title
    return title[: MAX_TITLE - 1].rsplit(" ", 1)[0].rstrip(_QUOTES + ",;:-") + "…"
