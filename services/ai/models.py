"""Ai's data."""

from dataclasses import dataclass, field

from libs.common.events import Turn, Usage


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is asked.

    Attributes:
        history: earlier turns, oldest first.
        content: the message to answer.
    """

    history: tuple[Turn, ...]
    content: str


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a reply.

    Attributes:
        text: what is new, possibly empty.
        usage: tokens of the whole reply so far, where the provider told.
        finish_reason: `stop` or `max_tokens` on the last piece, else None.
    """

    text: str
    usage: Usage | None = None
    finish_reason: str | None = None


@dataclass(slots=True)
class Draft:
    """A reply while it is written by one attempt."""

    attempt: int
    text: str = ""
    usage: Usage = field(default_factory=Usage)
    finish_reason: str = ""
