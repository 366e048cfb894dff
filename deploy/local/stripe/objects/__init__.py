"""Stripe's objects as API 2026-10-28.endive shows them, one module per noun.

A builder returns a complete object: a nullable key is there and null, because the SDK raises
AttributeError for an absent one. Keys that begin with `_` are the emulator's own notes;
`wire.public` takes them off.
"""
