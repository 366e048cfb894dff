"""What chat can do, one function per verb; each opens its own transaction."""
