"""What plans grant, as the environment says it: the same data for every service that has to know.

Billing announces it, and only billing decides who has which plan. The others need it for those of
whom billing never spoke: users who never paid anything, and guests.
"""

import json
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import NoDecode

from libs.common.events import Entitlements
from libs.common.settings import CommonSettings, split_names

MAX_LIMIT = 2_000_000_000
"""The highest limit, of whatever it is; a plan without a limit has null."""


def members(given: Any) -> dict[str, Any]:
    """Return some members of `Entitlements`, from JSON or as they are.

    Raises:
        ValueError: it is something else, in one line.
    """
    try:
        found = json.loads(given or "{}") if isinstance(given, str) else given
    except ValueError as exc:
        raise ValueError("it is not JSON") from exc
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - pydantic wants ValueErrors
    if unknown := found.keys() - Entitlements.model_fields.keys():
        raise ValueError(f"a plan has no {', '.join(sorted(unknown))}")
    try:
        granted = Entitlements.model_validate({"messages_per_day": None} | found)
    except ValidationError as exc:
        (error, *_) = exc.errors(include_url=False, include_input=False, include_context=False)
        place = ".".join(str(part) for part in error["loc"])
        raise ValueError(f"{place}: {error['msg']}") from exc
    for name, value in granted:
        if isinstance(value, int) and value > MAX_LIMIT:
            raise ValueError(f"{name}: at most {MAX_LIMIT}, or null for no limit")
    return granted.model_dump(include=set(found))


Members = Annotated[dict[str, Any], NoDecode, BeforeValidator(members)]
"""A JSON object with some of the members of `Entitlements`."""


class PlanSettings(CommonSettings):
    """Environment of a service that knows what users may do of whom billing never spoke.

    Attributes:
        basic_messages_per_day: messages that the Basic plan grants per UTC day.
        guest_messages_per_day: the same for a guest; 0 leaves guests nothing to send.
        basic_models: comma-separated ids of the models that Basic users may choose; empty is only
            the default one.
        basic_entitlements: what else the Basic plan grants, or in the place of those above.
        guest_entitlements: the same for guests.
    """

    basic_messages_per_day: int = Field(default=20, ge=0, le=MAX_LIMIT)
    guest_messages_per_day: int = Field(default=5, ge=0, le=MAX_LIMIT)
    basic_models: str = ""
    basic_entitlements: Members = Field(default={})
    guest_entitlements: Members = Field(default={})

    def unbilled(self, *, guest: bool) -> Entitlements:
        """Return what a user may do of whom billing never spoke."""
        if guest:
            return granting(self.guest_entitlements, messages_per_day=self.guest_messages_per_day)
        return granting(
            self.basic_entitlements,
            messages_per_day=self.basic_messages_per_day,
            models=split_names(self.basic_models),
        )


def granting(given: dict[str, Any], **short: Any) -> Entitlements:
    """Return what a plan grants by `short`, the variables for one thing each, and `given`."""
    return Entitlements.model_validate(short | given)
