import pytest
from pydantic_core import PydanticCustomError

from services.auth.identifiers import normalise_email, normalise_phone


@pytest.mark.parametrize(
    "text", ["+14155552671", "+1 415 555 2671", "+1 (415) 555-2671", "\uff0b14155552671"]
)
def test_a_phone_number_has_one_form(text: str) -> None:
    assert normalise_phone(text) == "+14155552671"


@pytest.mark.parametrize(
    "text", ["", "4155552671", "+1", "+1415555267", "+999123456789", "phone", "+1\x004155552671"]
)
def test_what_is_no_phone_number_is_refused(text: str) -> None:
    with pytest.raises(PydanticCustomError, match="country code") as caught:
        normalise_phone(text)
    assert caught.value.type == "invalid_phone"


@pytest.mark.parametrize("text", ["ada@example.org", "Ada@Example.ORG", "ADA@EXAMPLE.ORG"])
def test_an_address_has_one_form(text: str) -> None:
    assert normalise_email(text) == "ada@example.org"


@pytest.mark.parametrize(
    "text", ["", "ada", "ada@", "@example.org", "a b@example.org", "ada@example", "a\x00@b.org"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(PydanticCustomError, match="address") as caught:
        normalise_email(text)
    assert caught.value.type == "invalid_email"
