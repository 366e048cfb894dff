"""What auth does, step by step: transactions, their order, and what is announced."""
