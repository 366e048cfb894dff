import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.events import Turn, Usage
from services.ai import rules
from services.ai.errors import (
    ContentBlockedError,
    ModelError,
    ModelOverloadedError,
    ModelSilentError,
    ModelUnavailableError,
    ReplyEmptyError,
)

TURNS = st.lists(
    st.builds(Turn, role=st.sampled_from(["user", "assistant"]), content=st.text(max_size=60)),
    max_size=12,
)


@given(
    summary=st.text(max_size=200),
    history=TURNS,
    content=st.text(min_size=1, max_size=300),
    budget=st.integers(10, 100),
)
def test_a_prompt_holds_the_message_whole_and_stays_within_its_budget(
    summary: str, history: list[Turn], content: str, budget: int
) -> None:
    """L1, L3: for any conversation."""
    turns = rules.conversation(
        summary=summary, history=history, content=content, budget_tokens=budget
    )

    assert turns[-1] == Turn(role="user", content=content)
    assert turns[0].role == "user"
    earlier = sum(len(turn.content) for turn in turns[:-1])
    assert earlier <= max(0, budget * 4 - len(content))


def test_the_summary_comes_first_and_marked_then_the_newest_turns_that_fit() -> None:
    history = [
        Turn(role="user", content="a" * 40),
        Turn(role="assistant", content="b" * 40),
        Turn(role="user", content="c" * 40),
        Turn(role="assistant", content="d" * 40),
    ]

    turns = rules.conversation(summary="old", history=history, content="now?", budget_tokens=55)

    first, *middle, last = turns
    assert first.role == "user"
    assert first.content == f"{rules.SUMMARY_HEAD}old"
    assert [turn.content[0] for turn in middle] == ["c", "d"]
    assert last.content == "now?"


def test_history_never_begins_with_the_models_turn() -> None:
    history = [Turn(role="user", content="a" * 40), Turn(role="assistant", content="b")]

    turns = rules.conversation(summary="", history=history, content="c", budget_tokens=5)

    assert turns == (Turn(role="user", content="c"),)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Tea for Two", "Tea for Two"),
        ('"Tea for Two"\n', "Tea for Two"),
        ("**Tea  for\tTwo**\nand more", "Tea for Two"),
        ("# „Tee“\n", "Tee"),
        ("\n\n  ", ""),
        ("``", ""),
        ("It's Tom's", "It's Tom's"),
        ("x" * 80, "x" * 80),
        ("x" * 81, "x" * 79 + "…"),
        ("word " * 30, ("word " * 15).strip() + "…"),
    ],
)
def test_a_title_is_one_line_without_quotes(text: str, title: str) -> None:
    assert rules.title_from(text) == title


@given(st.text())
def test_a_title_is_never_too_long_nor_has_lines(text: str) -> None:
    title = rules.title_from(text)
    assert len(title) <= rules.MAX_TITLE
    assert len(title.splitlines()) <= 1


@pytest.mark.parametrize(
    ("error", "tries", "elapsed_s", "again"),
    [
        (ModelUnavailableError("x"), 5, 0, True),
        (ModelUnavailableError("x"), 6, 0, False),
        (ModelUnavailableError("x"), 1, 26, False),
        (ReplyEmptyError("x"), 1, 0, True),
        (ContentBlockedError("x"), 1, 0, False),
        (ModelOverloadedError("x", retry_after_s=20), 1, 0, True),
        (ModelOverloadedError("x", retry_after_s=21), 1, 0, False),
        (ModelOverloadedError("x", retry_after_s=20), 1, 6, False),
    ],
)
def test_the_model_is_asked_again_while_that_may_help_and_someone_waits(
    error: ModelError, tries: int, elapsed_s: float, again: bool
) -> None:
    """U1, U2: the budget of tries and of time."""
    assert rules.may_retry(error, tries=tries, attempts=6, elapsed_s=elapsed_s) is again


@pytest.mark.parametrize(
    ("error", "speaks_against_it"),
    [
        (ModelUnavailableError("x"), True),
        (ModelSilentError("x"), True),
        (ModelOverloadedError("x"), True),
        (ReplyEmptyError("x"), False),
        (ContentBlockedError("x"), False),
    ],
)
def test_only_absence_and_overload_open_a_breaker(
    error: ModelError, speaks_against_it: bool
) -> None:
    assert rules.tells_of_trouble(error) is speaks_against_it


@pytest.mark.parametrize(
    ("first", "fallback", "models"),
    [
        ("a", "", [("a", 6)]),
        ("a", "a", [("a", 6)]),
        ("a", "b", [("a", 6), ("b", rules.FALLBACK_ATTEMPTS)]),
    ],
)
def test_the_fallback_comes_second_and_all_calls_are_at_most_8(
    first: str, fallback: str, models: list[tuple[str, int]]
) -> None:
    """U1: 8 calls at most, whatever the settings' default."""
    tried = rules.models_to_try(first, fallback, attempts=6)
    assert tried == models
    assert sum(attempts for _, attempts in tried) <= 8


def test_an_estimate_is_a_token_for_four_characters_and_never_less_than_was_told() -> None:
    told = Usage(prompt=100, cached=50, total=100)
    assert rules.estimated_usage(told, prompt_length=8, text_length=9) == Usage(
        prompt=100, cached=50, output=3, total=103
    )
    assert rules.estimated_usage(Usage(), prompt_length=8, text_length=0) == Usage(
        prompt=2, total=2
    )
    assert rules.estimated_usage(
        Usage(prompt=1, output=9, thoughts=5, tools=2, total=17), prompt_length=4, text_length=4
    ) == Usage(prompt=1, output=9, thoughts=5, tools=2, total=17)


def test_a_transcript_loses_its_oldest_part_first() -> None:
    turns = [Turn(role="user", content="a"), Turn(role="assistant", content="b")]
    assert rules.transcript("s", turns, most=99) == "Earlier summary: s\n\nUser: a\n\nAssistant: b"
    assert rules.transcript("s", turns, most=12) == "Assistant: b"
