"""Typed access to the parameters of a request; what is wrong is refused with its `param`."""

from typing import Any, Self

from deploy.local.stripe.errors import JSON, InvalidRequestError

_FLAGS = {"true": True, "false": False}


class Params:
    """Decoded parameters, or one object nested in them.

    An empty string means "unset this" on the wire; `text` and `integer` return None for it, and
    `has` tells it from an absent parameter.

    Args:
        values: as `forms.decode` returns them.
        prefix: where they stand, in bracket notation, for the errors.
    """

    def __init__(self, values: JSON, prefix: str = "") -> None:
        self.values = values
        self._prefix = prefix

    def name(self, key: str) -> str:
        """Return the full name of `key` as it stood in the request."""
        return f"{self._prefix}[{key}]" if self._prefix else key

    def only(self, *known: str, required: tuple[str, ...] = ()) -> Self:
        """Return self after checking the names.

        Raises:
            InvalidRequestError: a name is neither in `known` nor `required`, or a required one
                is absent or empty.
        """
        allowed = {*known, *required}
        for key in self.values:
            if key not in allowed:
                raise InvalidRequestError(
                    f"Received unknown parameter: {self.name(key)}. The emulator knows "
                    f"{', '.join(sorted(allowed)) or 'none'} here.",
                    param=self.name(key),
                    code="parameter_unknown",
                )
        for key in required:
            if self.values.get(key) in (None, "", [], {}):
                raise InvalidRequestError(
                    f"Missing required param: {self.name(key)}.",
                    param=self.name(key),
                    code="parameter_missing",
                )
        return self

    def has(self, key: str) -> bool:
        """Tell whether the parameter was sent at all, be it empty."""
        return key in self.values

    def text(self, key: str) -> str | None:
        """Return the string, or None if it is absent or empty."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, str):
            raise self.invalid(key, "must be a string")
        return value or None

    def choice(self, key: str, *choices: str) -> str | None:
        """Return the string, one of `choices`, or None if it is absent."""
        value = self.text(key)
        if value is not None and value not in choices:
            raise self.invalid(key, f"must be one of {', '.join(choices)}")
        return value

    def integer(self, key: str, *, low: int = 0, high: int = 2**53) -> int | None:
        """Return the number within `low..high`, both included, or None if absent or empty."""
        value = self.text(key)
        if value is None:
            return None
        digits = value.removeprefix("-")
        if not (digits.isascii() and digits.isdecimal()) or len(digits) > 18:
            raise self.invalid(key, "must be a whole number", code="parameter_invalid_integer")
        if not low <= int(value) <= high:
            raise self.invalid(key, f"must be between {low} and {high}")
        return int(value)

    def flag(self, key: str) -> bool | None:
        """Return the boolean, or None if it is absent."""
        value = self.text(key)
        if value is not None and value not in _FLAGS:
            raise self.invalid(key, "must be true or false")
        return None if value is None else _FLAGS[value]

    def url(self, key: str) -> str | None:
        """Return the absolute http or https URL, or None if it is absent."""
        value = self.text(key)
        if value is not None and not value.startswith(("http://", "https://")):
            raise self.invalid(
                key, "must be an absolute URL with http:// or https://", code="url_invalid"
            )
        return value

    def child(self, key: str) -> "Params":
        """Return the nested object, an empty one if it is absent."""
        value = self.values.get(key, {})
        if not isinstance(value, dict):
            raise self.invalid(key, "must be an object")
        return Params(value, self.name(key))

    def children(self, key: str) -> list["Params"]:
        """Return the list of nested objects, an empty one if it is absent."""
        found = self._list(key)
        if not all(isinstance(item, dict) for item in found):
            raise self.invalid(key, "must be a list of objects")
        return [Params(item, f"{self.name(key)}[{index}]") for index, item in enumerate(found)]

    def texts(self, key: str) -> list[str]:
        """Return the list of strings, an empty one if it is absent."""
        found = self._list(key)
        if not all(isinstance(item, str) for item in found):
            raise self.invalid(key, "must be a list of strings")
        return found

    def metadata(self, old: dict[str, str] | None = None) -> dict[str, str]:
        """Return `old` with the sent metadata merged in; an empty value removes its key."""
        if self.values.get("metadata") == "":
            return {}
        sent = self.child("metadata").values
        if not all(isinstance(value, str) for value in sent.values()):
            raise self.invalid("metadata", "must be an object of strings")
        return {key: value for key, value in {**(old or {}), **sent}.items() if value}

    def invalid(self, key: str, wish: str, *, code: str | None = None) -> InvalidRequestError:
        """Return the refusal of `key`, to be raised; `wish` completes "<name> ..."."""
        name = self.name(key)
        return InvalidRequestError(f"Invalid {name}: it {wish}.", param=name, code=code)

    def _list(self, key: str) -> list[Any]:
        value = self.values.get(key) or []
        # Stripe takes `type=a` for `types[]=a`; a list of one is what a lone value means.
        return value if isinstance(value, list) else [value]
