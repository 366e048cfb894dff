"""Ways to go wrong, and the book of those ordered for coming calls."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from deploy.local.gemini.catalogue import GENERATE

MODES = {
    "e400": "HTTP 400 INVALID_ARGUMENT",
    "e401": "HTTP 401 UNAUTHENTICATED",
    "e403": "HTTP 403 PERMISSION_DENIED",
    "e404": "HTTP 404 NOT_FOUND",
    "e429": "HTTP 429 with Retry-After and RetryInfo (retry_after_s)",
    "e500": "HTTP 500 INTERNAL",
    "e502html": "HTTP 502 with an HTML body",
    "e503": "HTTP 503 UNAVAILABLE",
    "e504": "HTTP 504 DEADLINE_EXCEEDED",
    "slow": "the first token after delay_s",
    "stall": "after_chunks chunks, then silence on an open socket",
    "cut": "after_chunks chunks, then the connection is dropped",
    "truncated": "after_chunks chunks, then a clean end without finishReason",
    "garbage": "after_chunks chunks, then one that is not JSON",
    "badjson": "a 200 that is not JSON",
    "error": "after_chunks chunks, then a 503 in the stream",
    "safety": "after_chunks chunks, then finishReason SAFETY",
    "safety_empty": "finishReason SAFETY and no text",
    "blocked": "promptFeedback.blockReason and no candidate",
    "empty": "no candidate at all",
    "max_tokens_empty": "finishReason MAX_TOKENS and no text: thoughts took it all",
    "recitation": "finishReason RECITATION and no text",
    "finish": "the reply with `reason` for its finishReason",
    "unruly": "a reply with markup, a NUL and half a surrogate pair",
    "long": "a reply of `chunks` chunks",
    "instant": "no delays",
    "tool_call": "a functionCall, until a functionResponse arrives",
}
_GENERATION_ONLY = (
    *("truncated", "error", "safety", "safety_empty", "blocked", "empty"),
    *("max_tokens_empty", "recitation", "long", "tool_call"),
    *("finish", "unruly"),
)
_METHODS = (*GENERATE, "countTokens", "batchEmbedContents")


class Fault(BaseModel):
    """One order: what goes wrong, how often and for which calls."""

    model_config = ConfigDict(extra="forbid")

    mode: str
    times: int = Field(default=1, ge=1, le=100_000)
    match: str | None = Field(default=None, description="substring of the last user text")
    method: str | None = Field(default=None, description="default: either way to generate")
    retry_after_s: int = Field(default=3, ge=0, le=3600)
    delay_s: float = Field(default=5, ge=0, le=600)
    chunks: int = Field(default=500, ge=1, le=20_000)
    reason: str = Field(default="OTHER", pattern="^[A-Z_]+$")
    after_chunks: int = Field(default=2, ge=0, le=20_000)

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.mode not in MODES:
            raise ValueError(f"no mode {self.mode!r}; there are: {', '.join(MODES)}")
        if self.method is not None and self.method not in _METHODS:
            raise ValueError(f"no method {self.method!r}; there are: {', '.join(_METHODS)}")
        if self.method not in (None, *GENERATE) and self.mode in _GENERATION_ONLY:
            raise ValueError(f"mode {self.mode} has no meaning for {self.method}")
        return self

    def applies_to(self, method: str, text: str) -> bool:
        """Tell whether a call is one this order waits for."""
        methods = GENERATE if self.method is None else (self.method,)
        return method in methods and (self.match is None or self.match in text)


class FaultBook:
    """Orders in the sequence they were given; the first that fits a call is used, once per call."""

    def __init__(self) -> None:
        self._orders: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Append an order."""
        self._orders.append(fault)

    def clear(self) -> None:
        """Forget every order."""
        self._orders.clear()

    def take(self, method: str, text: str) -> Fault | None:
        """Use up one of the first fitting order, if any."""
        for index, fault in enumerate(self._orders):
            if fault.applies_to(method, text):
                left = fault.model_copy(update={"times": fault.times - 1})
                self._orders[index : index + 1] = [left] if left.times else []
                return fault
        return None

    def as_json(self) -> list[dict[str, Any]]:
        """List what is still to come; `times` is what is left."""
        return [fault.model_dump(exclude_none=True) for fault in self._orders]
