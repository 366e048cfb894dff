"""One trace from a request through the outbox and RabbitMQ to whoever acts last.

Its identity travels as W3C's `traceparent`, always, and every log line below carries `trace_id`.
Spans are recorded only where a process exports them.
"""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags

HEADER = "traceparent"
_VALUE = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
"""https://www.w3.org/TR/trace-context/#traceparent-header"""

_tracer = trace.get_tracer("thoughtflow")


@contextmanager
def traced(name: str, kind: SpanKind, parent: str | None = None) -> Iterator[None]:
    """Trace what the block does, and let its log lines tell the trace.

    Args:
        name: of the span: few, as metrics' labels.
        kind: of the span.
        parent: the caller's `traceparent`. Without a valid one the span belongs to the trace that
            we are in, and to a new one if we are in none.
    """
    span = _start(name, kind, _read(parent) or _present())
    token = context.attach(trace.set_span_in_context(span))
    trace_id = trace.format_trace_id(span.get_span_context().trace_id)
    # Not bound_contextvars, which costs four times as much.
    bound = structlog.contextvars.bind_contextvars(trace_id=trace_id)
    try:
        yield
    except BaseException:
        # Without what was raised: its message may quote what a user wrote.
        span.set_status(trace.StatusCode.ERROR)
        raise
    finally:
        structlog.contextvars.reset_contextvars(**bound)
        span.end()
        context.detach(token)


def traceparent() -> str | None:
    """Return the present trace context, to be stored with an event or sent along; None if none."""
    found = _present()
    if found is None:
        return None
    ids = trace.format_trace_id(found.trace_id), trace.format_span_id(found.span_id)
    return f"00-{ids[0]}-{ids[1]}-{int(found.trace_flags):02x}"


def _present() -> SpanContext | None:
    found = trace.get_current_span().get_span_context()
    return found if found.is_valid else None


def _read(value: str | None) -> SpanContext | None:
    match = _VALUE.fullmatch(value) if value else None
    if match is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in match.groups())
    found = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags & 1))
    return found if found.is_valid else None


def _start(name: str, kind: SpanKind, parent: SpanContext | None) -> Span:
    above = context.Context()
    if parent is not None:
        above = trace.set_span_in_context(NonRecordingSpan(parent), above)
    span = _tracer.start_span(name, above, kind)
    if span.get_span_context().is_valid:
        return span
    ours = parent or SpanContext(
        secrets.randbits(128) or 1,
        secrets.randbits(64) or 1,
        is_remote=False,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
    return NonRecordingSpan(ours)
