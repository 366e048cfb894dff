"""What ai tells Prometheus: how long prompts wait, and how models answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import Counter, Histogram

from libs.common.metrics import SECONDS, WAITS_S
from services.ai.errors import ModelError
from services.ai.models import Draft

PROMPT_AGE_S = Histogram(
    "thoughtflow_prompt_queue_age_seconds",
    "Age of a prompt when a worker claimed it, by the event that brought it.",
    ["type"],
    buckets=WAITS_S,
)
_calls = Counter(
    "thoughtflow_model_calls",
    "Calls by outcome: ok, the code of an error, or cancelled (a stop, or our end).",
    ["model", "outcome"],
)
_first_token_s = Histogram(
    "thoughtflow_time_to_first_token_seconds",
    "Time from the call of a model to its first text.",
    ["model"],
    buckets=SECONDS,
)
_tokens_per_second = Histogram(
    "thoughtflow_model_tokens_per_second",
    "Tokens of the visible reply by the time from the first text to the end of the call.",
    ["model"],
    buckets=(1, 5, 10, 20, 40, 60, 80, 120, 160, 240, 320, 640),
)


class Call:
    """One call of a model while it runs."""

    def __init__(self) -> None:
        self._began = perf_counter()
        self._first_at = 0.0

    def heard(self, text: str) -> None:
        """Take what the model wrote."""
        if text and not self._first_at:
            self._first_at = perf_counter()

    def end(self, draft: Draft, outcome: str) -> None:
        """Count the call."""
        _calls.labels(draft.model, outcome).inc()
        if not self._first_at:
            return
        _first_token_s.labels(draft.model).observe(self._first_at - self._began)
        took_s = perf_counter() - self._first_at
        if outcome == "ok" and took_s > 0:
            _tokens_per_second.labels(draft.model).observe(draft.usage.output / took_s)


@contextmanager
def calling(draft: Draft) -> Iterator[Call]:
    """Count the call of `draft.model` that the block makes, however it ends."""
    call, outcome = Call(), "cancelled"
    try:
        yield call
        outcome = "ok"
    except ModelError as exc:
        outcome = exc.code
        raise
    finally:
        call.end(draft, outcome)
