"""The arithmetic of refresh tokens.

A token is base64url(session id, generation, HMAC over both and the session's nonce). It is opaque
to clients, 256 bits out of guessing reach, and derived: none is stored, and all who refresh with
the same token get the same successor.
"""

import base64
import binascii
import hmac
import struct
from dataclasses import dataclass
from uuid import UUID

from services.auth.derivation import derive_key

_LAYOUT = struct.Struct(">16sI32s")


@dataclass(frozen=True, slots=True)
class PresentedToken:
    """What a token claims; believe it only after `RefreshTokens.is_genuine`."""

    session_id: UUID
    generation: int
    mac: bytes


def parse(token: str) -> PresentedToken | None:
    """Return what `token` claims, or None if it does not have the form of a token."""
    try:
        session_id, generation, mac = _LAYOUT.unpack(base64.b64decode(token, "-_", validate=True))
    except (binascii.Error, struct.error, ValueError):
        return None
    return PresentedToken(UUID(bytes=session_id), generation, mac)


class RefreshTokens:
    """Makes and recognises refresh tokens."""

    def __init__(self, secret: str) -> None:
        self._key = derive_key(secret, "refresh-token")

    def token(self, session_id: UUID, *, generation: int, nonce: bytes) -> str:
        """Return the session's token of that generation, always the same."""
        mac = self._mac(session_id, generation, nonce)
        packed = _LAYOUT.pack(session_id.bytes, generation, mac)
        return base64.urlsafe_b64encode(packed).decode()

    def is_genuine(self, presented: PresentedToken, *, nonce: bytes) -> bool:
        """Tell in constant time whether we made the token for the session with that nonce."""
        expected = self._mac(presented.session_id, presented.generation, nonce)
        return hmac.compare_digest(presented.mac, expected)

    def _mac(self, session_id: UUID, generation: int, nonce: bytes) -> bytes:
        message = session_id.bytes + generation.to_bytes(4) + nonce
        return hmac.digest(self._key, message, "sha256")
