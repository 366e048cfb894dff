"""What at least two services share: contracts, message path, wiring. Imports no service."""
