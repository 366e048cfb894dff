"""What the model answers: text, finish reason and usage, before anything happens on the wire."""

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from deploy.local.gemini import replies
from deploy.local.gemini.catalogue import Model
from deploy.local.gemini.faults import Fault
from deploy.local.gemini.usage import (
    PromptTokens,
    count_json,
    count_prompt,
    count_text,
    early_usage,
    final_usage,
    thought_tokens,
)
from deploy.local.gemini.wire import GenerateRequest

_SAFETY = [{"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True}]
_CHUNK_WORDS = (1, 3, 2)
_UNRULY = ("<script>alert(1)</script>", " a\x00b", " \ud83d", " end")


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; what happens to it on the wire is the business of `answers`.

    `pieces` holds the parts of each chunk; an empty piece is a candidate without content.
    No pieces at all is an answer without candidates.
    """

    model: str
    prompt: PromptTokens
    pieces: list[list[dict[str, Any]]]
    finish: str = "STOP"
    thoughts: int = 0
    block_reason: str | None = None

    def usage(self) -> dict[str, Any]:
        """Shape the usage of the whole reply."""
        parts = [part for piece in self.pieces for part in piece]
        if not parts and not self.thoughts:
            return early_usage(self.prompt)
        text = "".join(part["text"] for part in parts if "text" in part and "thought" not in part)
        calls = sum(count_json(part["functionCall"]) for part in parts if "functionCall" in part)
        spoken = count_text(text) + calls
        return final_usage(self.prompt, candidates=spoken, thoughts=self.thoughts)

    def chunks(self) -> Iterator[dict[str, Any]]:
        """Shape the reply as stream events; the last has the finish reason and full usage."""
        frame = {"modelVersion": self.model, "responseId": secrets.token_urlsafe(12)}
        if self.block_reason:
            yield {
                "promptFeedback": {"blockReason": self.block_reason, "safetyRatings": _SAFETY},
                "usageMetadata": self.usage(),
                **frame,
            }
            return
        early = early_usage(self.prompt)
        for piece in self.pieces[:-1]:
            yield {"candidates": [_candidate(piece, None)], "usageMetadata": early, **frame}
        last = {"candidates": [_candidate(self.pieces[-1], self.finish)]} if self.pieces else {}
        yield {**last, "usageMetadata": self.usage(), **frame}

    def whole(self) -> dict[str, Any]:
        """Shape the reply as the one answer of generateContent."""
        merged: list[dict[str, Any]] = []
        for part in (part for piece in self.pieces for part in piece):
            if merged and part.keys() == merged[-1].keys() == {"text"}:
                merged[-1] = {"text": merged[-1]["text"] + part["text"]}
            else:
                merged.append(part)
        *_, answer = self.chunks()
        if self.pieces:
            answer["candidates"] = [_candidate(merged, self.finish)]
        return answer


_FIXED = {
    "blocked": Reply("", PromptTokens(), [], block_reason="SAFETY"),
    "empty": Reply("", PromptTokens(), []),
    "safety_empty": Reply("", PromptTokens(), [[]], finish="SAFETY"),
    "recitation": Reply("", PromptTokens(), [[]], finish="RECITATION"),
    "unruly": Reply("", PromptTokens(), [[{"text": text}] for text in _UNRULY]),
}


def _candidate(parts: list[dict[str, Any]], finish: str | None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"index": 0}
    if parts:
        candidate["content"] = {"parts": parts, "role": "model"}
    if finish:
        candidate["finishReason"] = finish
    if finish == "SAFETY":
        candidate["safetyRatings"] = _SAFETY
    return candidate


def reply_to(request: GenerateRequest, model: Model, fault: Fault | None) -> Reply:
    """Compose the reply, as the fault wants it where the fault is one of content."""
    prompt = count_prompt(request)
    mode = fault.mode if fault else ""
    if mode in _FIXED:
        return replace(_FIXED[mode], model=model.name, prompt=prompt)
    if mode == "max_tokens_empty":
        spent = request.generation_config.max_output_tokens or model.output_tokens
        return Reply(model.name, prompt, [[]], finish="MAX_TOKENS", thoughts=spent)
    if mode == "tool_call" and not any(p.function_response for p in request.contents[-1].parts):
        call = {"functionCall": _tool_call(request), "thoughtSignature": "ZW11bGF0ZWQ="}
        return Reply(model.name, prompt, [[call]], thoughts=thought_tokens(request))
    if fault and mode == "long":
        text = " ".join(str(n) for n in range(1, fault.chunks + 1))
        return _spoken(request, model, prompt, text, chunk_words=(1,))
    reply = _spoken(request, model, prompt, replies.compose(request))
    if fault and mode == "safety":
        reply = replace(reply, pieces=[*reply.pieces[: fault.after_chunks], []], finish="SAFETY")
    elif fault and mode == "finish":
        reply = replace(reply, finish=fault.reason)
    return reply


def _spoken(
    request: GenerateRequest,
    model: Model,
    prompt: PromptTokens,
    text: str,
    chunk_words: tuple[int, ...] = _CHUNK_WORDS,
) -> Reply:
    config = request.generation_config
    thoughts = thought_tokens(request)
    for stop in filter(None, config.stop_sequences):
        text = text.partition(stop)[0]
    room = (config.max_output_tokens or model.output_tokens) - thoughts
    text, is_whole = _within(text, room)
    pieces: list[list[dict[str, Any]]] = [[{"text": t}] for t in _split(text, chunk_words)] or [[]]
    if config.thinking_config.include_thoughts and thoughts:
        thought = {"text": "Thinking about what was asked.", "thought": True}
        pieces.insert(0, [thought])
    finish = "STOP" if is_whole else "MAX_TOKENS"
    return Reply(model.name, prompt, pieces, finish=finish, thoughts=thoughts)


def _within(text: str, room: int) -> tuple[str, bool]:
    """Cut a text to `room` tokens, in the middle of a word if need be."""
    for word in re.finditer(r"\S+", text):
        tokens = count_text(word[0])
        if tokens > room:
            return text[: word.start() + 4 * room].rstrip(), False
        room -= tokens
    return text, True


def _split(text: str, chunk_words: tuple[int, ...]) -> Iterator[str]:
    words = re.findall(r"\s*\S+(?:\s+$)?", text)
    at = 0
    for turn in range(len(words)):
        if at >= len(words):
            return
        size = chunk_words[turn % len(chunk_words)]
        yield "".join(words[at : at + size])
        at += size


def _tool_call(request: GenerateRequest) -> dict[str, Any]:
    declared = [each for tool in request.tools for each in tool.function_declarations]
    if not declared:
        return {"name": "get_weather", "args": {"city": "Paris"}, "id": "call-1"}
    schema = declared[0].parameters or declared[0].parameters_json_schema or {}
    samples: dict[str, Any] = {
        "number": 1,
        "integer": 1,
        "boolean": True,
        "array": [],
        "object": {},
    }
    args = {
        name: samples.get(str(detail.get("type", "")).lower(), "example")
        for name, detail in schema.get("properties", {}).items()
    }
    return {"name": declared[0].name, "args": args, "id": "call-1"}
