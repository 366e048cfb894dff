"""What callers send. Keys are read in camelCase and snake_case alike: google-genai mixes them."""

from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

from deploy.local.gemini.errors import bad_request

_Base64 = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/_-]*={0,2}$")]


class _Wire(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, frozen=True
    )


class Blob(_Wire):
    """Bytes sent along with the text."""

    mime_type: str
    data: _Base64 = Field(repr=False)

    @property
    def size(self) -> int:
        """Decoded length in bytes."""
        return len(self.data.rstrip("=")) * 3 // 4


class FileReference(_Wire):
    """A file uploaded earlier. The emulator has none; it only counts it."""

    mime_type: str = "application/octet-stream"
    file_uri: str


class FunctionResponse(_Wire):
    """What the caller's tool answered."""

    name: str
    response: dict[str, Any] = {}


class Part(_Wire):
    """One piece of a turn: exactly what was sent is set."""

    text: str | None = None
    inline_data: Blob | None = None
    file_data: FileReference | None = None
    function_call: dict[str, Any] | None = None
    function_response: FunctionResponse | None = None
    thought: bool = False

    @model_validator(mode="after")
    def _has_data(self) -> Self:
        kinds = (
            self.text,
            self.inline_data,
            self.file_data,
            self.function_call,
            self.function_response,
        )
        if all(kind is None for kind in kinds):
            raise ValueError("required oneof field 'data' must have one initialized field")
        return self


class Content(_Wire):
    """A turn, or a system instruction."""

    role: Annotated[str, StringConstraints(pattern="^(user|model|function|system)?$")] = ""
    parts: list[Part] = Field(min_length=1)

    @property
    def text(self) -> str:
        """The visible text, without thoughts."""
        return "".join(part.text or "" for part in self.parts if not part.thought)


class ThinkingConfig(_Wire):
    """How much the model may think; a budget wins over a level."""

    thinking_budget: int | None = Field(default=None, ge=-1)
    thinking_level: str | None = None
    include_thoughts: bool = False


class GenerationConfig(_Wire):
    """The settings that change what the emulator sends; others are accepted and ignored."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    max_output_tokens: int | None = Field(default=None, ge=1)
    stop_sequences: list[str] = Field(default=[], max_length=5)
    response_mime_type: str = "text/plain"
    thinking_config: ThinkingConfig = ThinkingConfig()


class FunctionDeclaration(_Wire):
    """A tool the model may call; either schema names its parameters."""

    name: str
    parameters: dict[str, Any] | None = None
    parameters_json_schema: dict[str, Any] | None = None


class Tool(_Wire):
    """A group of functions; Google's own tools are ignored."""

    function_declarations: list[FunctionDeclaration] = []


class GenerateRequest(_Wire):
    """Body of generateContent and streamGenerateContent; unknown names are refused."""

    model_config = ConfigDict(extra="forbid")

    contents: list[Content] = Field(min_length=1)
    model: str | None = None
    system_instruction: Content | None = None
    generation_config: GenerationConfig = GenerationConfig()
    tools: list[Tool] = []
    tool_config: dict[str, Any] | None = None
    safety_settings: list[dict[str, Any]] = []
    cached_content: str | None = None
    labels: dict[str, str] | None = None
    service_tier: str | None = None
    store: bool | None = None

    @property
    def last_user_text(self) -> str:
        """Text of the newest turn that is not the model's ("" if there is none)."""
        turns = [content for content in self.contents if content.role != "model"]
        return turns[-1].text if turns else ""

    @property
    def instruction(self) -> str:
        """Text of the system instruction ("" if there is none)."""
        return self.system_instruction.text if self.system_instruction else ""


class CountRequest(_Wire):
    """Body of countTokens: bare contents, or the whole request they belong to."""

    contents: list[Content] = []
    generate_content_request: GenerateRequest | None = None

    @model_validator(mode="after")
    def _has_contents(self) -> Self:
        if not self.contents and self.generate_content_request is None:
            raise ValueError("contents is not specified")
        return self


class EmbedRequest(_Wire):
    """One text to embed."""

    content: Content
    output_dimensionality: int | None = Field(default=None, ge=1, le=3072)


class BatchEmbedRequest(_Wire):
    """Body of batchEmbedContents."""

    requests: list[EmbedRequest] = Field(min_length=1, max_length=100)


_Body = TypeVar("_Body", bound=BaseModel)


def parse(body: type[_Body], data: Any) -> _Body:
    """Read a decoded JSON body.

    Raises:
        GeminiError: 400 with one violation per wrong field.
    """
    try:
        return body.model_validate(data)
    except ValidationError as error:
        raise bad_request([_violation(item) for item in error.errors()]) from error


def _violation(item: Any) -> tuple[str, str]:
    path = ""
    for step in item["loc"]:
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
    field = path.lstrip(".")
    if item["type"] == "extra_forbidden":
        return field, f'Unknown name "{item["loc"][-1]}": Cannot find field.'
    if item["type"] == "missing":
        return field, f"{item['loc'][-1]} is not specified"
    return field, item["msg"].removeprefix("Value error, ")
