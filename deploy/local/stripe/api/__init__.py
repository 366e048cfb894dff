"""The calls under /v1 by noun: each parses, does one thing, and returns the object."""
