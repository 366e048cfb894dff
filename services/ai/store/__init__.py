"""All of ai's SQL. One function is one statement; the caller owns the transaction."""
