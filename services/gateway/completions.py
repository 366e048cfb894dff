"""OpenAI's chat completions, as far as a chat of ours can be one: no I/O."""

from typing import Any, Literal

import orjson
from pydantic import BaseModel, Field, ValidationError

from libs.common.errors import MalformedError, ThoughtflowError, ValidationFailedError
from services.gateway.events import STREAM_RECONNECT
from services.gateway.replay import SSE, Wire
from services.gateway.wires import Growing, error_text

DEFAULT_MODEL = "default"
"""What stands for the model that the server chooses."""

DONE = b"data: [DONE]\n\n"
_FINISH = {"max_tokens": "length"}
_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}

Document = dict[str, Any]


class _Part(BaseModel):
    type: Literal["text"]
    text: str


class _Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]

    def document(self) -> Document:
        role = "system" if self.role == "developer" else self.role
        if isinstance(self.content, str):
            return {"role": role, "content": self.content}
        return {"role": role, "content": "".join(part.text for part in self.content)}


class Completion(BaseModel):
    """The request; members that only tune the model are accepted and have no effect."""

    messages: list[_Message] = Field(min_length=1)
    model: str = DEFAULT_MODEL
    stream: bool = False
    n: Literal[1] | None = None
    tools: list[Any] | None = Field(default=None, max_length=0)

    def question(self) -> Document:
        """Return the body of chat's `POST /completion`."""
        body: Document = {"messages": [message.document() for message in self.messages]}
        return body if self.model == DEFAULT_MODEL else body | {"model": self.model}


def parse_completion(body: bytes) -> Completion:
    """Return the request.

    Raises:
        MalformedError: the body is no JSON.
        ValidationFailedError: we cannot do that.
    """
    try:
        return Completion.model_validate_json(body)
    except ValidationError as exc:
        error = exc.errors(include_url=False, include_input=False, include_context=False)[0]
        if error["type"] == "json_invalid":
            raise MalformedError("the body is not valid JSON") from exc
        place = ".".join(str(part) for part in error["loc"][:4])[:100]
        raise ValidationFailedError(f"{place}: {error['msg']}", extra={"param": place}) from exc


def openai_error(problem: Document) -> tuple[int, Document]:
    """Return status and body by which OpenAI's clients understand a problem document."""
    status = int(problem.get("status", 500))
    status = 400 if status == 422 else status
    kind = _KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
    error = {
        "message": problem.get("detail", ""),
        "type": kind,
        "param": problem.get("param"),
        "code": problem.get("code"),
    }
    return status, {"error": error}


def completion(reply_id: str, model: str, reply: Growing, created: int) -> Document:
    """Return the whole answer; `usage` is None, as nothing tells it here."""
    message = {"role": "assistant", "content": reply.text, "refusal": None}
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": finish_reason(reply),
    }
    head = {"id": f"chatcmpl-{reply_id}", "object": "chat.completion", "created": created}
    return {**head, "model": model, "choices": [choice], "usage": None}


def finish_reason(reply: Growing) -> str:
    """Return why the model ended, in OpenAI's words."""
    return _FINISH.get(str((reply.end or {}).get("finish_reason")), "stop")


class Chunks(Growing):
    """The stream of `chat.completion.chunk`; text can only be added, so a new start is an error."""

    def __init__(self, reply_id: str, model: str, created: int) -> None:
        super().__init__()
        self._head = {
            "id": f"chatcmpl-{reply_id}",
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
        }
        self._is_broken = False

    @property
    def wire(self) -> Wire:
        """Return the wire."""
        return Wire(self._encode, SSE.heartbeat)

    @property
    def begin(self) -> bytes:
        """Return the first chunk."""
        return self._chunk({"role": "assistant", "content": ""})

    def _encode(self, event: str, data: Document, *, entry_id: str | None = None) -> bytes:
        del entry_id
        if self._is_broken:
            return b""
        news = self.grow(event, data)
        if news is None:
            return self._break("the reply started over; send the request again")
        if event == STREAM_RECONNECT:
            return self._break("the server is being restarted; send the request again")
        if self.status == "failed":
            return self._break(error_text(self.end))
        out = self._chunk({"content": news}) if news else b""
        return out + self._chunk({}, finish_reason(self)) if self.end else out

    def _break(self, message: str) -> bytes:
        self._is_broken = True
        problem = {"status": 502, "detail": message, "code": "reply_failed"}
        return _data(openai_error(problem)[1])

    def _chunk(self, delta: Document, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _data({**self._head, "choices": [choice]})


def failed(reply: Growing) -> Document:
    """Return the problem of a reply that failed."""
    problem = (reply.end or {}).get("problem") or {}
    code = problem.get("code", ThoughtflowError.code)
    return {"status": 502, "detail": error_text(reply.end), "code": code}


def _data(document: Document) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(document)
