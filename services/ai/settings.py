"""Ai's environment."""

from typing import Any

from pydantic import Field, SecretStr, field_validator

from libs.common.plans import PlanSettings


class Settings(PlanSettings):
    """Ai's settings; see `.env.example` for every variable with its meaning.

    Attributes:
        prefetch: replies that one process writes at the same time; most of it is waiting.
        gemini_api_key: from Google AI Studio.
        gemini_base_url: only to talk to something else than Google, e.g. the emulator.
        gemini_model: the model that answers where the user chose none.
        gemini_fallback_model: answers while the other one does not; empty is none.
        system_instruction: what the model is told before every conversation.
        max_output_tokens: length of a reply at most, thoughts included.
        prompt_tokens: length of a prompt at most, at four characters per token; the message itself
            is never cut.
        reply_deadline_s: seconds after which chat has failed a reply, so that no model is asked.
        budget_micros_per_day: what all models may cost per UTC day, in millionths of a US dollar;
            None is no limit. What was spent before it was set does not count.
        concurrent_replies_per_user: replies of one user that one process writes at the same time.
        connect_timeout_s: time that a connection to the provider may take.
        first_token_timeout_s: silence allowed before a reply's first word.
        silence_timeout_s: silence allowed between two pieces of a reply.
        total_timeout_s: time one call to the model may take.
        model_attempts: calls to one model for one reply at most.
    """

    prefetch: int = Field(default=256, ge=1, le=1000)
    gemini_api_key: SecretStr = Field(min_length=1)
    gemini_base_url: str | None = Field(default=None, pattern="^https?://")
    gemini_model: str = Field(default="gemini-3.8-flash", min_length=1)
    gemini_fallback_model: str = ""
    system_instruction: str = "You are a helpful, concise assistant. Answer in Markdown."
    max_output_tokens: int = Field(default=4096, ge=1, le=65_536)
    prompt_tokens: int = Field(default=12_000, ge=1000, le=1_000_000)
    reply_deadline_s: int = Field(default=600, ge=60, le=86_400)
    budget_micros_per_day: int | None = Field(default=None, ge=0)
    concurrent_replies_per_user: int = Field(default=4, ge=1, le=1000)
    connect_timeout_s: float = Field(default=5, gt=0, le=60)
    first_token_timeout_s: float = Field(default=30, gt=0, le=300)
    silence_timeout_s: float = Field(default=20, gt=0, le=300)
    total_timeout_s: float = Field(default=120, gt=0, le=600)
    model_attempts: int = Field(default=6, ge=1, le=8)

    @field_validator("budget_micros_per_day", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: Any) -> Any:
        # Compose files pass an unset variable on as an empty one.
        return None if value == "" else value

    @property
    def has_budget(self) -> bool:
        """Whether the installation has a limit per day."""
        return self.budget_micros_per_day is not None
