"""The arithmetic of second factors: time-based codes (RFC 6238) and recovery codes."""

import hashlib
import hmac
import secrets
from datetime import datetime
from uuid import UUID

import pyotp
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.auth.derivation import derive_key

STEP_S = 30
SKEW_STEPS = 1
"""How many steps the clock of a person's device may be off, each way."""

RECOVERY_CODES = 10
_ISSUER = "Thoughtflow"
_NONCE_BYTES = 12  # of AES-GCM, NIST SP 800-38D section 8.2
_RECOVERY_ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # nothing that is misread
_RECOVERY_LENGTH = 10  # 49 bits, behind 20 guesses a day
_CHALLENGE_BYTES = 32


class FactorMaker:
    """Makes secrets and codes, and what of them may be stored."""

    def __init__(self, secret: str) -> None:
        self._aead = AESGCM(derive_key(secret, "factor"))
        self._recovery_key = derive_key(secret, "recovery-code")

    def make_secret(self) -> str:
        """Return 160 random bits in base32 (RFC 4226, section 4)."""
        return pyotp.random_base32()

    def uri(self, secret: str, account: str) -> str:
        """Return what an authenticator app scans: an `otpauth://` URI that names the account."""
        return pyotp.TOTP(secret, interval=STEP_S).provisioning_uri(
            name=account, issuer_name=_ISSUER
        )

    def seal(self, secret: str, user_id: UUID) -> bytes:
        """Return what may be stored, good for this user alone."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, secret.encode(), user_id.bytes)

    def matching_step(self, code: str, sealed: bytes, user_id: UUID, now: datetime) -> int | None:
        """Return the time step that a code of six digits belongs to, None if it is wrong.

        As much work for each answer, so that its time tells nothing.

        Raises:
            cryptography.exceptions.InvalidTag: another secret sealed it, or for another user.
        """
        nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        secret = self._aead.decrypt(nonce, ciphertext, user_id.bytes).decode()
        totp = pyotp.TOTP(secret, interval=STEP_S)
        present = int(now.timestamp()) // STEP_S
        found = None
        for step in range(present - SKEW_STEPS, present + SKEW_STEPS + 1):
            if hmac.compare_digest(totp.generate_otp(step), code):
                found = step
        return found

    def make_recovery_codes(self) -> list[str]:
        """Return `RECOVERY_CODES` different ones, e.g. `K7QRM-2HXWD`."""
        codes: set[str] = set()
        while len(codes) < RECOVERY_CODES:
            letters = [secrets.choice(_RECOVERY_ALPHABET) for _ in range(_RECOVERY_LENGTH)]
            letters.insert(_RECOVERY_LENGTH // 2, "-")
            codes.add("".join(letters))
        return sorted(codes)

    def recovery_hash(self, code: str, user_id: UUID) -> bytes:
        """Return 32 bytes that stand for a user's recovery code, however it is spaced."""
        plain = "".join(letter for letter in code.upper() if letter in _RECOVERY_ALPHABET)
        return hmac.digest(self._recovery_key, user_id.bytes + plain.encode(), "sha256")


def make_challenge() -> str:
    """Return a token that nobody guesses: 256 random bits."""
    return secrets.token_urlsafe(_CHALLENGE_BYTES)


def challenge_hash(token: str) -> bytes:
    """Return what of a challenge is stored."""
    return hashlib.sha256(token.encode()).digest()
