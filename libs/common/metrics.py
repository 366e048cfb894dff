"""What Prometheus is told by every service; what one service alone tells is its own `metrics`.

Labels have few values, known beforehand: never an id, a path with one, or what a client made up.
"""

from functools import cache

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

from libs.common.errors import LimitReachedError, ThoughtflowError
from libs.common.events import ALL_EVENTS

# A third more series, which no query of ours uses.
disable_created_metrics()  # type: ignore[no-untyped-call]

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Bounds for what is over while somebody looks at it."""

WAITS_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
"""Bounds for what may have to wait, seconds."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_TYPES = frozenset(event.TYPE for event in ALL_EVENTS)

_requests = Counter(
    "thoughtflow_http_requests",
    "Requests by route template; status 0: the client left before the answer.",
    ["method", "route", "status"],
)
_request_s = Histogram(
    "thoughtflow_http_request_duration_seconds",
    "Time from a request to the head of its answer; the body of a stream may take hours.",
    ["method", "route"],
    buckets=SECONDS,
)
_refusals = Counter(
    "thoughtflow_refusals",
    "Refusals by a limit; policy is empty where the plan has no say.",
    ["code", "policy"],
)
_deliveries = Counter(
    "thoughtflow_deliveries",
    "Events that were delivered, by outcome: done, delayed, dead, cancelled.",
    ["type", "outcome"],
)
_delivery_s = Histogram(
    "thoughtflow_delivery_duration_seconds",
    "Time that a handler took, waits for a dependency included.",
    ["type"],
    buckets=WAITS_S,
)
OUTBOX_EVENTS = Gauge(
    "thoughtflow_outbox_events", "Events of the service's schema that RabbitMQ has not confirmed."
)
OUTBOX_LAG_S = Gauge("thoughtflow_outbox_lag_seconds", "Age of the oldest of them; 0 for none.")


def method_label(method: str) -> str:
    """Return the method; a client may send any word, and those are one."""
    return method if method in _METHODS else "other"


def count_request(method: str, route: str | None, status: int, seconds: float) -> None:
    """Count a request; `route` is the template, None if the path has none."""
    count, duration = _of_route(method_label(method), route or "none", status)
    count.inc()
    duration.observe(seconds)


@cache  # finding a metric by its labels costs more than counting
def _of_route(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return _requests.labels(method, route, status), _request_s.labels(method, route)


def count_refusal(error: ThoughtflowError) -> None:
    """Count what a limit refused; other errors are not counted."""
    if isinstance(error, LimitReachedError):
        _refusals.labels(error.code, error.extra.get("policy", "")).inc()


def count_delivery(event_type: str | None, outcome: str, seconds: float) -> None:
    """Count a delivery that a handler is done with."""
    known = event_type if event_type in _TYPES else "other"
    _deliveries.labels(known, outcome).inc()
    _delivery_s.labels(known).observe(seconds)
