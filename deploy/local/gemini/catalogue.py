"""The models the emulator knows. A name may carry a fault: `gemini-3.8-flash--e503`."""

from dataclasses import dataclass
from typing import Any

from deploy.local.gemini.errors import GeminiError

GENERATE = ("generateContent", "streamGenerateContent")
EMBED_DIMENSIONS = 3072
"""Length of an embedding when the caller names none."""


@dataclass(frozen=True, slots=True)
class Model:
    """One catalogue entry; `name` is the bare id, without `models/`."""

    name: str
    title: str
    input_tokens: int
    output_tokens: int
    methods: tuple[str, ...]
    is_thinking: bool

    def as_json(self) -> dict[str, Any]:
        """Shape the entry as Google's `Model` resource."""
        resource: dict[str, Any] = {
            "name": f"models/{self.name}",
            "version": "001",
            "displayName": self.title,
            "description": f"Local emulation of {self.title}. No Google model is behind it.",
            "inputTokenLimit": self.input_tokens,
            "outputTokenLimit": self.output_tokens,
            "supportedGenerationMethods": list(self.methods),
        }
        if self.is_thinking:
            resource |= {"temperature": 1, "maxTemperature": 2, "topP": 0.95, "thinking": True}
        return resource


def _chat_model(name: str, title: str) -> Model:
    return Model(name, title, 1_048_576, 65_536, (*GENERATE, "countTokens"), is_thinking=True)


MODELS = {
    model.name: model
    for model in (
        _chat_model("gemini-3.8-flash", "Gemini 3.8 Flash"),
        _chat_model("gemini-3.1-pro-preview", "Gemini 3.1 Pro Preview"),
        _chat_model("gemini-2.5-flash", "Gemini 2.5 Flash"),
        _chat_model("gemini-2.5-pro", "Gemini 2.5 Pro"),
        Model(
            "gemini-embedding-001",
            "Gemini Embedding 001",
            2048,
            1,
            ("batchEmbedContents", "countTokens"),
            is_thinking=False,
        ),
    )
}


def find_model(name: str, version: str) -> tuple[Model, str]:
    """Look a model up, with the fault mode its name asks for ("" for none).

    Raises:
        GeminiError: 404 when there is no such model.
    """
    base, _, mode = name.partition("--")
    if base not in MODELS:
        known = ", ".join(MODELS)
        message = (
            f"models/{base} is not found for API version {version}. The emulator has: {known}."
        )
        raise GeminiError(404, message)
    return MODELS[base], mode
