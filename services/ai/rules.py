"""Ai's decisions: pure functions, no I/O, no clock."""

from services.ai.errors import ModelError

MAX_PAUSE_S = 20.0
FIRST_PAUSE_S = 0.5


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


def may_retry(error: ModelError, *, tries: int, attempts: int) -> bool:
    """Tell whether the model is worth asking again after `tries` tries of `attempts`."""
    waits_too_long = error.retry_after_s is not None and error.retry_after_s > MAX_PAUSE_S
    return error.transient and tries < attempts and not waits_too_long
