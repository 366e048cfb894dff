"""What the emulator says to what; pure functions."""

import pytest

from deploy.local.gemini import arithmetic
from deploy.local.gemini.chatter import chat


@pytest.mark.parametrize(
    ("question", "result"),
    [
        ("2+2", "2+2 = **4**."),
        ("What is 17 times 23?", "17 * 23 = **391**."),
        ("what's 15% of 80", "15 / 100 * 80 = **12**."),
        ("calculate (1 + 2) x 3 =", None),
        ("please compute 7 divided by 8", "7 / 8 = **0.875**."),
        ("0.1 + 0.2", "0.1 + 0.2 = **0.3**."),
        ("-3 * -3", "-3 * -3 = **9**."),
        ("1/0", "That divides by zero, so it has no answer."),
        ("999999 * 1000001", "999999 * 1000001 = **999,999,999,999**."),
        ("2 ** 9", None),
        ("9 // 2", None),
        ("42", None),
        ("2026-01-02", None),
        ("+" * 80, None),
        ("(" * 79 + "1", None),
        ("1 + two", None),
    ],
)
def test_only_plain_sums_are_worked_out_and_exactly(question: str, result: str | None) -> None:
    assert arithmetic.answer(question) == result


@pytest.mark.parametrize(
    ("said", "earlier", "expected"),
    [
        ("hello there!", [], "Hello! I am the local Gemini emulator"),
        ("Good morning", ["hi"], "Hello again!"),
        ("Thanks a lot", [], "You are welcome"),
        ("Who are you?", [], "local Gemini emulator"),
        ("What is Thoughtflow?", [], "self-hosted backend for AI chat"),
        ("Count to 4", [], "1, 2, 3, 4."),
        ("Tell me a story about a brave teapot.", [], "there was a brave teapot."),
        ("My name is Ada", [], "**Ada**"),
        ("what is my name?", ["my name is Ada", "hm"], "**Ada**"),
        ("what is my name?", ["hm"], "not told me"),
        ("What did I say?", ["one", "two"], '"two". That makes 2 messages'),
        ("Which otters juggle?", ["a", "b"], "message 3"),
        ("Otters juggle {0} {quoted}", [], "**Otters**"),
        ("", [], "no words"),
        ("???", [], "your own words"),
    ],
)
def test_a_message_gets_a_fitting_answer(said: str, earlier: list[str], expected: str) -> None:
    assert expected in chat(said, earlier)


@pytest.mark.parametrize(
    "said", ["Why do magnets stick?", "I like trains", "Explain DNS", "Is it so?"]
)
def test_an_echo_owns_up_to_being_an_emulator(said: str) -> None:
    assert "emulator" in chat(said, [])
