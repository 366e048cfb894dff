"""The public edge: routes, tokens, rate limits, live replies and the one OpenAPI document."""
