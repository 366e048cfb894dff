"""Billing: who has paid. A faithful copy of what Stripe says, and the entitlements it gives."""
