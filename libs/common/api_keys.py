"""The form of API keys: `tf_`, 43 random characters, and six that check them.

By its form a scanner of leaked secrets knows a key for sure, and the gateway refuses what cannot be
one without asking anybody.
"""

import re
import secrets
import string
import zlib

PREFIX = "tf_"
SHOWN = len(PREFIX) + 8
"""Characters that the owner sees again: a sixth of the random ones, far from what would help."""

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM = 43
"""62 to this power is more than 256 bits."""

_CHECK = 6
_FORM = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{_RANDOM + _CHECK}}}", re.ASCII)


def make_key() -> str:
    """Return a fresh key."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))
    return PREFIX + body + _checksum(body)


def is_well_formed(key: str) -> bool:
    """Tell whether the characters are those of a key, as far as that can be known without auth."""
    if not _FORM.fullmatch(key):
        return False
    body, check = key[len(PREFIX) : -_CHECK], key[-_CHECK:]
    return check == _checksum(body)


def _checksum(body: str) -> str:
    rest, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CHECK):
        rest, digit = divmod(rest, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
