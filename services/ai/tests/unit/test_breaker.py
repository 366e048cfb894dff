import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ai.breaker import Breaker, Breakers


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def breaker(clock: Clock) -> Breaker:
    return Breaker(clock, failures=3, window_s=10, pause_s=5)


def play(story: str) -> str:
    """Play f(ailed), s(ucceeded), digits (seconds pass); answer `+` or `-` to each ? (may I)."""
    clock = Clock()
    one = breaker(clock)
    answers = ""
    for step in story:
        match step:
            case "f":
                one.failed()
            case "s":
                one.succeeded()
            case "?":
                answers += "-" if one.wait_s() > 0 else "+"
            case _:
                clock.now += int(step)
    return answers


@pytest.mark.parametrize(
    ("story", "answers"),
    [
        ("?", "+"),
        ("ff??", "++"),
        ("fff?", "-"),
        ("ffsff?", "+"),  # in a row
        ("ff99f?", "+"),  # within the window
        ("f5f5f?", "-"),
        ("f5f6f?", "+"),
        ("fff4?1?", "-+"),  # open, then half open
        ("fff5??", "+-"),  # one trial for all
        ("fff5?s???", "++++"),  # it was good: closed
        ("fff5?sff?f?", "++-"),  # and counts anew
        ("fff5?f?4?1?", "+--+"),  # it was bad: open again
        ("fff5?4?1?", "+-+"),  # a trial that never reports is tried again
        ("fff3f2?3?", "-+"),  # a late failure of an older call keeps it open
        ("fffs?", "+"),
    ],
)
def test_a_breaker_lets_through_what_it_should(story: str, answers: str) -> None:
    assert play(story) == answers


@given(st.text(alphabet="fs?159", max_size=60))
def test_a_breaker_is_open_only_after_failures_and_never_for_ever(story: str) -> None:
    clock = Clock()
    one = breaker(clock)
    failed = 0
    for step in story:
        match step:
            case "f":
                one.failed()
                failed += 1
            case "s":
                one.succeeded()
                failed = 0
                assert one.wait_s() == 0
            case "?":
                wait = one.wait_s()
                assert 0 <= wait <= one.pause_s
                assert wait == 0 or failed >= one.failures
            case _:
                clock.now += int(step)
    clock.now += one.pause_s
    assert one.wait_s() == 0


def test_models_fail_each_on_its_own() -> None:
    breakers = Breakers(Clock())
    for _ in range(5):
        breakers.of("a").failed()
    assert breakers.of("a").wait_s() > 0
    assert breakers.of("b").wait_s() == 0
