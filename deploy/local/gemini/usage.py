"""Token accounting by one stated rule: a word costs a token per four characters, rounded up."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from deploy.local.gemini.wire import Content, GenerateRequest, Part

MEDIA_TOKENS = 258
"""What Gemini charges for a small image; here, for every attachment."""
CACHE_FROM_TOKENS = 1024
"""Earlier turns of at least this size are reported as cached, as with implicit caching."""
_THOUGHTS = {"MINIMAL": 0, "LOW": 16, "MEDIUM": 32, "HIGH": 64}
_MODALITIES = {"image": "IMAGE", "audio": "AUDIO", "video": "VIDEO", "application": "DOCUMENT"}


def count_text(text: str) -> int:
    """Count tokens: per whitespace separated word, its length over four, rounded up."""
    return sum(-(-len(word) // 4) for word in text.split())


def count_json(value: Any) -> int:
    """Count a tool call's or result's tokens from its compact JSON."""
    return -(-len(json.dumps(value, separators=(",", ":"))) // 4)


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """Tokens of a request by modality; `cached` is part of the total, not on top of it."""

    by_modality: Counter[str] = field(default_factory=Counter)
    cached: int = 0

    @property
    def total(self) -> int:
        """All prompt tokens."""
        return self.by_modality.total()

    def details(self) -> list[dict[str, Any]]:
        """Shape the split as Google's `ModalityTokenCount` list."""
        return [{"modality": name, "tokenCount": n} for name, n in self.by_modality.items()]


def _part_tokens(part: Part) -> tuple[str, int]:
    media = part.inline_data or part.file_data
    if media is not None:
        kind = media.mime_type.partition("/")[0]
        return _MODALITIES.get(kind, "TEXT"), MEDIA_TOKENS
    if part.function_call is not None:
        return "TEXT", count_json(part.function_call)
    if part.function_response is not None:
        return "TEXT", count_json(part.function_response.response)
    return "TEXT", count_text(part.text or "")


def _tally(contents: Iterable[Content]) -> Counter[str]:
    tally: Counter[str] = Counter()
    for content in contents:
        for part in content.parts:
            modality, tokens = _part_tokens(part)
            tally[modality] += tokens
    return tally


def count_contents(contents: Iterable[Content]) -> PromptTokens:
    """Count turns on their own, as countTokens does without a whole request."""
    return PromptTokens(_tally(contents))


def count_prompt(request: GenerateRequest) -> PromptTokens:
    """Count a whole request: its system instruction and every turn."""
    instruction = [request.system_instruction] if request.system_instruction else []
    tally = _tally([*instruction, *request.contents])
    earlier = _tally([*instruction, *request.contents[:-1]]).total()
    return PromptTokens(tally, earlier if earlier >= CACHE_FROM_TOKENS else 0)


def thought_tokens(request: GenerateRequest) -> int:
    """Say how long the model "thinks": by budget or level, at most half of maxOutputTokens.

    Gemini takes thoughts out of maxOutputTokens, so thoughts and text never exceed it together.
    """
    config = request.generation_config
    thinking = config.thinking_config
    tokens = _THOUGHTS.get((thinking.thinking_level or "").upper(), _THOUGHTS["MEDIUM"])
    if thinking.thinking_budget is not None and thinking.thinking_budget >= 0:
        tokens = min(thinking.thinking_budget, _THOUGHTS["HIGH"])
    if config.max_output_tokens is not None:
        tokens = min(tokens, config.max_output_tokens // 2)
    return tokens


def early_usage(prompt: PromptTokens) -> dict[str, Any]:
    """Shape the usage of every chunk but the last, and of a reply that never began."""
    return {
        "promptTokenCount": prompt.total,
        "totalTokenCount": prompt.total,
        "promptTokensDetails": prompt.details(),
    }


def final_usage(prompt: PromptTokens, *, candidates: int, thoughts: int) -> dict[str, Any]:
    """Shape the usage that is billed: the total is prompt + candidates + thoughts."""
    usage = early_usage(prompt)
    usage["totalTokenCount"] = prompt.total + candidates + thoughts
    if candidates:
        usage["candidatesTokenCount"] = candidates
    if thoughts:
        usage["thoughtsTokenCount"] = thoughts
    if prompt.cached:
        usage["cachedContentTokenCount"] = prompt.cached
    return usage
