"""What a message says and to whom, unreadable without AUTH_SECRET while it is stored."""

import secrets
from datetime import datetime

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.auth.derivation import derive_key
from services.auth.models import Delivery, Identifier, OtpMessage

_NONCE_BYTES = 12  # of AES-GCM, NIST SP 800-38D section 8.2


class Seal:
    """Closes messages and opens them again; each is bound to the row that it lies in."""

    def __init__(self, secret: str) -> None:
        self._aead = AESGCM(derive_key(secret, "delivery"))

    def close(self, message: OtpMessage) -> bytes:
        """Return what may be stored."""
        content = {
            "kind": message.to.kind,
            "value": message.to.value,
            "subject": message.subject,
            "text": message.text,
            "expires_at": message.expires_at,
        }
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, orjson.dumps(content), message.id.bytes)

    def open(self, delivery: Delivery) -> OtpMessage:
        """Return what was closed.

        Raises:
            cryptography.exceptions.InvalidTag: another secret closed it, or for another row.
        """
        nonce, sealed = delivery.sealed[:_NONCE_BYTES], delivery.sealed[_NONCE_BYTES:]
        content = orjson.loads(self._aead.decrypt(nonce, sealed, delivery.id.bytes))
        return OtpMessage(
            id=delivery.id,
            to=Identifier(content["kind"], content["value"]),
            subject=content["subject"],
            text=content["text"],
            expires_at=datetime.fromisoformat(content["expires_at"]),
        )
