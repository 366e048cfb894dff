"""An emulator of the parts of Stripe that Thoughtflow uses, for machines with no Stripe account."""
