"""What billing tells Prometheus: whether what Stripe says takes effect."""

from prometheus_client import Counter, Histogram

from libs.common.metrics import WAITS_S

WEBHOOK_LAG_S = Histogram(
    "thoughtflow_webhook_lag_seconds",
    "Time from the receipt of an event of Stripe's to its effect.",
    buckets=WAITS_S,
)
WEBHOOK_FAILURES = Counter(
    "thoughtflow_webhook_failures",
    "Tries to apply a customer's events that failed; they are tried again.",
)
