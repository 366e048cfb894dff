"""Text that people type: what PostgreSQL and JSON can hold, kept byte for byte."""

from typing import Annotated

from pydantic import AfterValidator


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("NUL characters cannot be stored")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise ValueError("unpaired surrogates are not text") from exc
    return text


PlainText = Annotated[str, AfterValidator(_storable)]
"""Any Unicode text without NUL characters and unpaired surrogates."""
