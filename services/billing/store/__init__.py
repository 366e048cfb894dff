"""Billing's SQL: one function, one statement; the caller owns the transaction."""
