"""Which web pages of other origins may call the API from a browser (Fetch standard, CORS)."""

from collections.abc import Collection

from starlette.datastructures import Headers

Pairs = tuple[tuple[bytes, bytes], ...]

_EXPOSED = (
    b"ETag, Idempotent-Replayed, Location, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id"
)
_PREFLIGHT = (
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
    (
        b"access-control-allow-headers",
        b"Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, X-Request-Id",
    ),
    (b"access-control-max-age", b"7200"),  # seconds; no browser keeps it longer
)


class Cors:
    """Answers preflights and marks answers; tokens come in a header, so cookies are never allowed.

    Args:
        origins: as browsers send them: `https://app.example`, without a slash at the end.
    """

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = frozenset(origins)

    def marks(self, headers: Headers) -> Pairs:
        """Return what every answer to this request gets; empty where no origin is allowed."""
        if not self._origins:
            return ()
        vary = (b"vary", b"Origin")
        origin = headers.get("origin", "")
        if origin not in self._origins:
            return (vary,)
        return (
            vary,
            (b"access-control-allow-origin", origin.encode()),
            (b"access-control-expose-headers", _EXPOSED),
        )

    def preflight(self, method: str, headers: Headers) -> Pairs | None:
        """Return the headers of a 204 that lets a page go on; None where this is no preflight."""
        if method != "OPTIONS" or headers.get("origin") not in self._origins:
            return None
        return _PREFLIGHT if "access-control-request-method" in headers else None
