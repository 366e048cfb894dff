"""What the system costs, next to what it could cost at best: `python -m bench`, see README.md."""
