"""Decoding of Stripe's form encoding, where brackets make objects and lists."""

import re
from typing import Any
from urllib.parse import parse_qsl

from deploy.local.stripe.errors import JSON, InvalidRequestError

MAX_DEPTH = 8
_NAME = re.compile(r"^([^\[\]]+)((?:\[[^\[\]]*\])*)$")
_BRACKET = re.compile(r"\[([^\[\]]*)\]")


def decode(text: str) -> JSON:
    """Turn `items[0][price]=p&expand[]=a` into `{"items": [{"price": "p"}], "expand": ["a"]}`.

    Leaves are strings. An object whose keys are all numbers becomes a list in their order.

    Raises:
        InvalidRequestError: a name is not well-formed, is nested deeper than `MAX_DEPTH`, or is
            used both as a value and as an object.
    """
    root: JSON = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        match = _NAME.match(name)
        path = [match[1], *_BRACKET.findall(match[2])] if match else []
        if not path or len(path) > MAX_DEPTH:
            raise InvalidRequestError(f"Write '{name[:100]}' like items[0][price].", param=name)
        _insert(root, path, value, name)
    return {key: _with_lists(value) for key, value in root.items()}


def _insert(root: JSON, path: list[str], value: str, name: str) -> None:
    node = root
    for key in path[:-1]:
        child = node.setdefault(key or str(len(node)), {})
        if not isinstance(child, dict):
            raise InvalidRequestError(f"{name} is used both as a value and as an object.")
        node = child
    last = path[-1] or str(len(node))
    if isinstance(node.get(last), dict):
        raise InvalidRequestError(f"{name} is used both as a value and as an object.")
    node[last] = value


def _with_lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if all(key.isdecimal() for key in value):
        return [_with_lists(value[key]) for key in sorted(value, key=int)]
    return {key: _with_lists(child) for key, child in value.items()}
