"""What a process tells about itself: one JSON line per request, delivery and change of state.

And, where an operator wants them, spans.
"""

import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any

import orjson
import structlog
from opentelemetry import trace


def configure_logging(service: str, level: str) -> None:
    """Write structured JSON lines to standard output; other libraries' warnings come along."""
    structlog.configure(
        cache_logger_on_first_use=True,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _stack_without_values,
            _named(service),
            structlog.processors.JSONRenderer(serializer=_dumps),
        ],
        logger_factory=structlog.BytesLoggerFactory(sys.stdout.buffer),
    )
    logging.basicConfig(stream=sys.stdout, level=logging.WARNING, force=True)
    quieten_libraries()


def export_spans(service: str, endpoint: str) -> None:
    """Record the spans of `libs.common.tracing` from now on, and send them to a collector.

    In batches, by a thread of its own; what a collector that is away does not take is lost.
    """
    # Megabytes, for those who export.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


def quieten_libraries() -> None:
    """Keep aiormq from writing whole messages, people's words among them, at any level."""
    logging.getLogger("aiormq").setLevel(logging.INFO)


def _stack_without_values(
    _: Any, __: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Log what was raised and where; its message may quote what a user wrote."""
    if event.pop("exc_info", None):
        kind, _value, trace = sys.exc_info()
        event["error"] = kind.__name__ if kind else None
        event["stack"] = "".join(traceback.format_tb(trace))
    return event


def _named(service: str) -> Any:
    def add(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        return event

    return add


def _dumps(value: Any, **_: Any) -> bytes:
    return orjson.dumps(value, default=str)
