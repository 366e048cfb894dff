"""Entity tags that are version numbers: what changed, and who may change it (RFC 9110, 13.1)."""

import re
from collections.abc import Collection
from typing import Annotated

from fastapi import Depends, Header

_TAG = re.compile(r'(?:W/)?"(\d{1,10})"')
_STRONG_TAG = re.compile(r'(?<!W/)"(\d{1,10})"')


def _if_match(
    if_match: Annotated[str | None, Header(description="`ETag` of what you read")] = None,
) -> Collection[int] | None:
    if if_match is None or if_match.strip() == "*":
        return None
    return {int(version) for version in _STRONG_TAG.findall(if_match)}


IfMatch = Annotated[Collection[int] | None, Depends(_if_match)]
"""The versions that the caller is willing to change, None for any."""


def entity_tag(version: int) -> str:
    """Return the `ETag` of a version."""
    return f'"{version}"'


def is_known(if_none_match: str, version: int) -> bool:
    """Tell whether the `If-None-Match` header names the version, so that a 304 will do."""
    return str(version) in _TAG.findall(if_none_match) or if_none_match.strip() == "*"
