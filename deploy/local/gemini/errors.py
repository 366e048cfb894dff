"""Google's error JSON (google.rpc.Status over HTTP) and the exception that becomes it."""

from typing import Any

STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_TYPE = "type.googleapis.com/google.rpc."


class GeminiError(Exception):
    """A refusal in Google's terms; `code` is the HTTP status and must be in `STATUSES`."""

    def __init__(
        self, code: int, message: str, details: list[dict[str, Any]] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details or []

    def as_json(self) -> dict[str, Any]:
        """Shape the error as Google sends it."""
        error: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "status": STATUSES[self.code],
        }
        if self.details:
            error["details"] = self.details
        return {"error": error}


def retry_info(seconds: float) -> dict[str, Any]:
    """Make the detail that tells a client how long to wait."""
    return {"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{seconds:g}s"}


def bad_request(violations: list[tuple[str, str]]) -> GeminiError:
    """Make the 400 for a malformed body.

    Args:
        violations: pairs of field path (as in `contents[0].parts`) and what is wrong with it.
    """
    message = "\n".join(f"* {field}: {text}" if field else text for field, text in violations)
    fields = [{"field": field, "description": text} for field, text in violations]
    return GeminiError(400, message, [{"@type": f"{_TYPE}BadRequest", "fieldViolations": fields}])
