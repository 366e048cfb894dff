"""What chat tells Prometheus: what waits at RabbitMQ, which chat asks anyway."""

from prometheus_client import Gauge

PROMPTS_WAITING = Gauge(
    "thoughtflow_prompts_waiting",
    "Prompts that no worker has taken, by the event that brings them.",
    ["type"],
)
DEAD_LETTERS = Gauge(
    "thoughtflow_dead_letters", "Events that failed for good and wait for a person."
)
