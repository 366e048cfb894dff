"""The arithmetic of one-time codes; nothing here is stored or sent."""

import hmac
from uuid import UUID

from services.auth.derivation import derive_key
from services.auth.models import Identifier

DIGITS = 6


class CodeMaker:
    """Derives codes from what is stored and a secret that is not.

    So a live code can be sent again, and yet a copy of the database holds none.
    """

    def __init__(self, secret: str) -> None:
        self._code_key = derive_key(secret, "one-time-code")
        self._identifier_key = derive_key(secret, "identifier")

    def identifier_hash(self, identifier: Identifier) -> bytes:
        """Return 32 bytes that stand for `identifier` and cannot be searched for without us."""
        text = f"{identifier.kind}:{identifier.value}"
        return hmac.digest(self._identifier_key, text.encode(), "sha256")

    def address_hash(self, network: str, *, counted: str) -> bytes:
        """Return 32 bytes that stand for what a network did, e.g. how often it signed up."""
        return hmac.digest(self._identifier_key, f"{counted}@{network}".encode(), "sha256")

    def code(self, code_id: UUID, nonce: bytes) -> str:
        """Return six digits, leading zeros kept.

        The modulo of a 256-bit number favours no code by more than one in 10^71.
        """
        digest = hmac.digest(self._code_key, code_id.bytes + nonce, "sha256")
        return f"{int.from_bytes(digest) % 10**DIGITS:0{DIGITS}}"

    def matches(self, otp: str, code_id: UUID, nonce: bytes) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(otp.encode(), self.code(code_id, nonce).encode())
