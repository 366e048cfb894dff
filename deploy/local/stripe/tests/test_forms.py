from typing import Any

import pytest

from deploy.local.stripe import forms
from deploy.local.stripe.errors import InvalidRequestError


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("a=1&b=", {"a": "1", "b": ""}),
        ("a[b][c]=1&a[d]=2", {"a": {"b": {"c": "1"}, "d": "2"}}),
        ("i[0][p]=x&i[1][p]=y", {"i": [{"p": "x"}, {"p": "y"}]}),
        ("i[10]=b&i[9]=a", {"i": ["a", "b"]}),
        ("e[]=a&e[]=b", {"e": ["a", "b"]}),
        ("a%5Bb%5D=%26%3D+%C3%A9", {"a": {"b": "&= é"}}),
    ],
)
def test_brackets_make_objects_and_lists(text: str, values: dict[str, Any]) -> None:
    assert forms.decode(text) == values


@pytest.mark.parametrize(
    "text", ["a[=1", "[a]=1", "a]b=1", "a=1&a[b]=2", "a[b]=1&a=2", "a" + "[b]" * 9 + "=1"]
)
def test_what_is_not_well_formed_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        forms.decode(text)
