"""Embeddings that mean a little: texts that share words point the same way."""

import hashlib
import math


def embed(text: str, dimensions: int) -> list[float]:
    """Hash each word to a few signed axes.

    Returns:
        A unit vector of `dimensions` numbers, equal for equal texts.
    """
    vector = [0.0] * dimensions
    for word in text.casefold().split() or [""]:
        digest = hashlib.blake2b(word.encode(), digest_size=24).digest()
        for at in range(0, len(digest), 4):
            number = int.from_bytes(digest[at : at + 4])
            vector[(number >> 1) % dimensions] += 1.0 if number & 1 else -1.0
    length = math.hypot(*vector)
    if not length:  # every axis cancelled out, which takes very few dimensions
        return [1.0, *vector[1:]]
    return [round(value / length, 8) for value in vector]
