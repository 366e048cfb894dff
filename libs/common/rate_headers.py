"""The fields of draft-ietf-httpapi-ratelimit-headers-11, in one place, as the draft may change."""

QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
"""Type of the problem that names the `violated-policies`."""


def policy_member(
    name: str, *, quota: int, window_s: int | None = None, unit: str | None = None
) -> str:
    """Return a member of `RateLimit-Policy`: what is allowed, in `window_s` seconds if given.

    Without a unit it is requests.
    """
    window = "" if window_s is None else f";w={window_s}"
    return f'"{name}";q={quota}{window}' + (f';qu="{unit}"' if unit else "")


def state_member(name: str, *, remaining: int, reset_s: int | None = None) -> str:
    """Return a member of `RateLimit`: what is left, and the seconds until there is more."""
    return f'"{name}";r={remaining}' + ("" if reset_s is None else f";t={reset_s}")
