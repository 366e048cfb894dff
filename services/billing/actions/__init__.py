"""What billing does, step by step."""
