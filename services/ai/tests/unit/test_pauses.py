import pytest

from services.ai.errors import ContentBlockedError, ModelError, ModelOverloadedError
from services.ai.rules import MAX_PAUSE_S, may_retry, pause_before_retry_s


@pytest.mark.parametrize(
    ("tries", "jitter", "told_s", "pause_s"),
    [
        (1, 1, None, 0.5),
        (1, 0, None, 0.25),
        (2, 1, None, 1),
        (3, 1, None, 2),
        (9, 1, None, MAX_PAUSE_S),
        (1, 1, 7, 7),
        (4, 1, 1, 4),
        (1, 0, 999, MAX_PAUSE_S),
    ],
)
def test_pauses_double_up_to_a_limit_and_are_never_shorter_than_the_provider_asks(
    tries: int, jitter: float, told_s: float | None, pause_s: float
) -> None:
    error = ModelOverloadedError("later", retry_after_s=told_s)

    assert pause_before_retry_s(error, tries=tries, jitter=jitter) == pause_s


@pytest.mark.parametrize(
    ("error", "tries", "worth_it"),
    [
        (ModelOverloadedError("later"), 1, True),
        (ModelOverloadedError("later"), 3, True),
        (ModelOverloadedError("later"), 4, False),
        (ModelOverloadedError("later", retry_after_s=MAX_PAUSE_S), 1, True),
        (ModelOverloadedError("later", retry_after_s=MAX_PAUSE_S + 1), 1, False),
        (ContentBlockedError("no"), 1, False),
    ],
)
def test_the_model_is_asked_again_only_while_that_may_help_soon(
    error: ModelError, tries: int, *, worth_it: bool
) -> None:
    assert may_retry(error, tries=tries, attempts=4, elapsed_s=0) is worth_it
