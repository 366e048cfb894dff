"""The gateway's decisions on a request: pure functions, no I/O."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from services.gateway.settings import Network

IPAddress = IPv4Address | IPv6Address
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""RFC 9110, section 7.6.1, RFC 7540, section 3.2.1, and what older clients send."""

_REPLACED = frozenset(
    {
        b"host",
        b"content-length",
        b"expect",
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-real-ip",
        b"traceparent",
        b"x-request-id",
        b"x-user-id",
    }
)
_NOT_FORWARDED = HOP_BY_HOP | _REPLACED
_NOT_RETURNED = HOP_BY_HOP | {b"server", b"date", b"x-request-id"}
"""uvicorn sets a date of its own."""

_MAX_FORWARDED_FOR = 512
"""Characters that are looked at, and remembered; an IPv6 address has up to 45."""

RawHeaders = Iterable[tuple[bytes, bytes]]


def forwarded_headers(
    headers: RawHeaders, *, client_ip: str, request_id: str, traceparent: str | None = None
) -> bytes:
    """Return the header lines for the service, without Host and Content-Length."""
    named = _named_by_connection(headers)
    lines = [
        b"%b: %b\r\n" % (name, value)
        for name, value in headers
        if name not in _NOT_FORWARDED and name not in named
    ]
    lines.append(f"x-forwarded-for: {client_ip}\r\nx-request-id: {request_id}\r\n".encode())
    if traceparent is not None:
        lines.append(f"traceparent: {traceparent}\r\n".encode())
    return b"".join(lines)


def returned_headers(
    headers: Sequence[tuple[bytes, bytes]], *, status: int
) -> list[tuple[bytes, bytes]]:
    """Return what the client gets of a service's headers (their names are in lower case)."""
    named = _named_by_connection(headers)
    kept = [
        (name, value) for name, value in headers if name not in _NOT_RETURNED and name not in named
    ]
    if status in {204, 304}:  # uvicorn would wait for as many bytes
        kept = [(name, value) for name, value in kept if name != b"content-length"]
    names = {name for name, _ in kept}
    if b"cache-control" not in names:
        kept.append((b"cache-control", b"no-store"))
    if b"x-content-type-options" not in names:
        kept.append((b"x-content-type-options", b"nosniff"))
    return kept


def _named_by_connection(headers: RawHeaders) -> frozenset[bytes]:
    named: frozenset[bytes] = frozenset()
    for name, value in headers:
        if name == b"connection" and value.lower() not in {b"keep-alive", b"close"}:
            named |= {part.strip() for part in value.lower().split(b",")}
    return named


class ClientAddresses:
    """Tells clients apart by address, behind any number of trusted proxies.

    Attributes:
        trust_proxies: whether `X-Forwarded-For` can matter at all.
    """

    def __init__(self, trusted: Sequence[Network]) -> None:
        self.trust_proxies = bool(trusted)
        self._trusted = trusted
        self._remembered = lru_cache(maxsize=4096)(self._client_ip)

    def client_ip(self, peer: str, forwarded_for: str) -> str:
        """Return the right-most address that is not a trusted proxy's.

        Args:
            peer: who connected to us.
            forwarded_for: all `X-Forwarded-For` values in order, joined by commas; of a long one
                only the last hops count, as no chain of proxies is that long.
        """
        if len(forwarded_for) > _MAX_FORWARDED_FOR:
            forwarded_for = forwarded_for[-_MAX_FORWARDED_FOR:].partition(",")[2]
        return self._remembered(peer, forwarded_for)

    def _client_ip(self, peer: str, forwarded_for: str) -> str:
        client = _parsed(peer)
        if client is None:
            return "0.0.0.0"  # noqa: S104 - a peer without an address: a Unix socket
        for hop in reversed(forwarded_for.split(",")):
            if not self._is_trusted(client):
                break
            address = _parsed(hop.strip())
            if address is None:
                break
            client = address
        return str(client)

    def _is_trusted(self, address: IPAddress) -> bool:
        return any(address in network for network in self._trusted)


@lru_cache(maxsize=4096)
def anonymous_subject(client_ip: str) -> str:
    """Return what a client without a login is counted by: one customer owns a whole IPv6 /64."""
    if ":" in client_ip:
        return str(ip_network((client_ip, 64), strict=False))
    return client_ip


def _parsed(text: str) -> IPAddress | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
