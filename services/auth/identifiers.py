"""Phone numbers and e-mail addresses in the one form that we store and compare."""

from typing import Annotated

import phonenumbers
from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from services.auth.models import Identifier


def normalise_phone(text: str) -> str:
    """Return `text` in E.164, e.g. `+14155552671`.

    Raises:
        PydanticCustomError: `invalid_phone`; no such number can exist, or its country is not given.
    """
    try:
        number = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        number = None
    if number is None or not phonenumbers.is_valid_number(number):
        raise PydanticCustomError(
            "invalid_phone", "write the number with its country code, e.g. +14155552671"
        )
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def normalise_email(text: str) -> str:
    """Return `text` in lower case.

    The part before the @ too: people capitalise it as they please, and mail providers ignore it.

    Raises:
        PydanticCustomError: `invalid_email`; it is no address. Whether mail arrives is not tried.
    """
    try:
        return validate_email(text, check_deliverability=False).normalized.lower()
    except EmailNotValidError as exc:
        raise PydanticCustomError(
            "invalid_email", "write an address such as ada@example.org"
        ) from exc


def parse_identifier(text: str) -> Identifier:
    """Return what an operator typed: an e-mail address if there is an @ in it, else a number.

    Raises:
        PydanticCustomError: it is neither.
    """
    if "@" in text:
        return Identifier("email", normalise_email(text))
    return Identifier("phone", normalise_phone(text))


def country_of(phone: str) -> str | None:
    """Return the ISO 3166 code of the country that a number in E.164 belongs to, if it has one."""
    return phonenumbers.region_code_for_number(phonenumbers.parse(phone, None))


Phone = Annotated[str, Field(max_length=40), AfterValidator(normalise_phone)]
Email = Annotated[str, Field(max_length=320), AfterValidator(normalise_email)]
