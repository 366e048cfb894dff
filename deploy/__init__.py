"""How Thoughtflow is run: on a laptop, in containers, on clusters."""
