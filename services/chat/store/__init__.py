"""All of chat's SQL. One function is one statement; the caller owns the transaction."""
