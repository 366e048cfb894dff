"""What a page is told of the request."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Visit:
    """One request for a page.

    Attributes:
        id: the object that the path names, empty if it names none.
        form: what was sent; a repeated field has its last value.
    """

    id: str
    form: dict[str, str]
