"""How an answer travels: the plan of its steps, with the fault that hits it on the way."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from deploy.local.gemini.errors import GeminiError, retry_info
from deploy.local.gemini.faults import Fault
from deploy.local.gemini.plan import Drop, Hang, Pause, Plan, Step, Write
from deploy.local.gemini.reply import Reply

_HTML_502 = b"<!DOCTYPE html><title>502</title><p>A proxy in between could not reach the service."
_OVERLOADED = GeminiError(503, "The emulator was told to fail in the middle of its answer.")
_ON_WIRE_BREAKS = ("stall", "cut", "truncated", "garbage", "badjson", "error")


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast replies are "typed", in seconds; 0 means at once."""

    first_token_s: float = 0.12
    chunk_s: float = 0.04


def refusal(fault: Fault | None) -> Plan | None:
    """Plan the HTTP error a fault stands for, or nothing if it is of another kind."""
    if fault is None or not fault.mode.startswith("e") or not fault.mode[1:4].isdigit():
        return None
    if fault.mode == "e502html":
        return Plan(iter([Write(_HTML_502)]), 502, "text/html; charset=UTF-8")
    code = int(fault.mode[1:])
    details = [retry_info(fault.retry_after_s)] if code == 429 else []
    headers = {"retry-after": str(fault.retry_after_s)} if code == 429 else {}
    return failure(
        GeminiError(code, f"The emulator was told to fail with {code}.", details), headers
    )


def failure(error: GeminiError, headers: dict[str, str] | None = None) -> Plan:
    """Plan an error as Google sends it."""
    return Plan(iter([Write(orjson.dumps(error.as_json()))]), error.code, headers=headers or {})


def stream(reply: Reply, fault: Fault | None, pace: Pace) -> Plan:
    """Plan the answer of streamGenerateContent?alt=sse."""
    steps = _stream_steps(reply, fault, _pace(fault, pace))
    return Plan(steps, media_type="text/event-stream")


def _stream_steps(reply: Reply, fault: Fault | None, pace: Pace) -> Iterator[Step]:
    break_at = len(reply.pieces) + 1
    if fault and fault.mode in _ON_WIRE_BREAKS:
        # Never the last chunk: with its finish reason the reply would be whole.
        break_at = max(0, min(fault.after_chunks, len(reply.pieces) - 1))
    for index, chunk in enumerate(reply.chunks()):
        yield Pause(pace.chunk_s if index else pace.first_token_s)
        if fault and index == break_at:
            yield from _broken(fault.mode)
            return
        yield Write(b"data: %b\r\n\r\n" % _dumped(chunk))


def _dumped(answer: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(answer)
    except TypeError:  # half a surrogate pair, which JSON can hold and UTF-8 cannot
        return json.dumps(answer).encode()


def _broken(mode: str) -> Iterator[Step]:
    match mode:
        case "stall":
            yield Hang()
        case "cut":
            yield Drop()
        case "garbage" | "badjson":
            yield Write(b"data: {this is not JSON\r\n\r\n")
        case "error":
            yield Write(b"data: %b\r\n\r\n" % orjson.dumps(_OVERLOADED.as_json()))


def single(answer: dict[str, Any], fault: Fault | None, delay_s: float) -> Plan:
    """Plan one JSON answer.

    Args:
        answer: the body.
        fault: may delay, spoil or withhold it.
        delay_s: how long the answer takes when the fault has no say.
    """
    body = _dumped(answer)
    mode = fault.mode if fault else ""
    steps: list[Step] = [Pause(fault.delay_s if fault and mode == "slow" else delay_s)]
    match mode:
        case "stall":
            steps.append(Hang())
        case "cut":
            steps += [Write(body[: len(body) // 2]), Drop()]
        case "garbage" | "badjson":
            steps.append(Write(b"{this is not JSON"))
        case _:
            steps.append(Write(body))
    return Plan(iter(steps))


def whole(reply: Reply, fault: Fault | None, pace: Pace) -> Plan:
    """Plan the answer of generateContent: it takes as long as the stream would."""
    if fault and fault.mode == "error":
        return failure(_OVERLOADED)
    answer = reply.whole()
    if fault and fault.mode == "truncated":
        for candidate in answer["candidates"]:
            candidate.pop("finishReason")
    pace = _pace(fault, pace)
    return single(answer, fault, pace.first_token_s + pace.chunk_s * len(reply.pieces))


def _pace(fault: Fault | None, pace: Pace) -> Pace:
    if fault and fault.mode == "instant":
        return Pace(0, 0)
    if fault and fault.mode == "slow":
        return Pace(fault.delay_s, pace.chunk_s)
    return pace
