"""One secret in, one key per purpose out, so that no key serves two ends."""

from typing import Literal

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Purpose = Literal[
    "api-key",
    "delivery",
    "external-subject",
    "factor",
    "identifier",
    "one-time-code",
    "recovery-code",
    "refresh-token",
    "signing-key",
]


def derive_key(secret: str, purpose: Purpose) -> bytes:
    """Return 32 bytes by HKDF-SHA256 (RFC 5869); the same for the same arguments."""
    info = f"thoughtflow.auth.{purpose}".encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret.encode())
