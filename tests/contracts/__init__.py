"""What the parts of the system promise one another, checked."""
