"""Accounts, one-time codes, sessions, and the keys that sign access tokens."""
