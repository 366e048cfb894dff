"""Ai's data."""

from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from libs.common.events import Turn, Usage

Kind = Literal["reply", "title", "summary"]
Period = Literal["month", "day"]
"""Of what a budget is: a user's month, or the whole installation's day; both in UTC."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is asked.

    Attributes:
        turns: the conversation, oldest first; the last is the user's and wants an answer.
        instruction: what the operator tells the model; holds nothing that a user wrote.
        max_output_tokens: length of the answer at most, thoughts included.
    """

    turns: tuple[Turn, ...]
    instruction: str
    max_output_tokens: int

    def texts(self) -> list[str]:
        """Return all that the model reads."""
        return [self.instruction, *(turn.content for turn in self.turns)]

    def length(self) -> int:
        """Return its characters."""
        return sum(map(len, self.texts()))


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a reply.

    Attributes:
        text: what is new, possibly empty.
        usage: tokens of the whole reply so far, where the provider told.
        is_last: whether the provider ended the reply with it, so that `usage` is what it bills.
        finish_reason: `stop` or `max_tokens` once the reply is known to be good, else None.
    """

    text: str
    usage: Usage | None = None
    is_last: bool = False
    finish_reason: str | None = None


@dataclass(slots=True)
class Draft:
    """A reply while it is written by one call to one model.

    Attributes:
        attempt: the fence of what is stored.
        model: the model asked, empty if none was.
        usage: tokens as the provider told them last.
        is_counted: whether the provider's count is final.
    """

    attempt: int
    model: str = ""
    text: str = ""
    usage: Usage = field(default_factory=Usage)
    finish_reason: str = ""
    pieces: int = 0
    is_counted: bool = False

    def take(self, piece: Piece) -> None:
        """Add what the model sent."""
        self.pieces += 1
        self.text += piece.text
        self.usage = piece.usage or self.usage
        self.is_counted = self.is_counted or piece.is_last
        self.finish_reason = piece.finish_reason or self.finish_reason


@dataclass(frozen=True, slots=True)
class Charge:
    """What a generation cost, as the ledger keeps it.

    Attributes:
        model: the model asked last, empty if none was.
        usage: tokens of all its calls.
        price_version: which prices were applied.
        cost_micros: millionths of a US dollar.
        estimated: whether a call was broken off before the provider told its tokens.
    """

    model: str
    usage: Usage
    price_version: str
    cost_micros: int
    estimated: bool

    def columns(self) -> tuple[int, int, int, int, int, int, str, int, bool]:
        """Return the ledger's columns from `prompt_tokens` to `estimated`, in its order."""
        tokens = self.usage
        return (
            tokens.prompt,
            tokens.cached,
            tokens.output,
            tokens.thoughts,
            tokens.tools,
            tokens.total,
            self.price_version,
            self.cost_micros,
            self.estimated,
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write a reply.

    Attributes:
        attempt: from 1.
        stop_requested: whether its user wants it to end at once.
        refused: whose budget lacks what it may cost, so that it has to end; None if neither does.
    """

    attempt: int
    stop_requested: bool
    refused: Period | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """A generation that does not know yet that it has to end.

    Attributes:
        attempt: the newest one.
        worker: who owns it.
        model: the model asked.
        is_orphan: whether its worker is gone.
    """

    attempt: int
    worker: int
    model: str
    is_orphan: bool


@dataclass(frozen=True, slots=True)
class Offer:
    """A model as one user sees it.

    Attributes:
        label: its name for people.
        context_window: input tokens at most, None if we do not know.
        is_default: whether it answers where the user chooses none.
        allowed: whether the user may choose it.
    """

    id: str
    label: str
    context_window: int | None
    is_default: bool
    allowed: bool


@dataclass(frozen=True, slots=True)
class Spent:
    """A sum of the ledger.

    Attributes:
        scope: of what: all of a period, one model's or one chatroom's part of the month.
        model: which, where the scope is that.
        chatroom_id: the same.
        messages: replies for which a model was asked.
        tokens: of replies, titles and summaries.
        cost_micros: of the same, millionths of a US dollar.
    """

    scope: Literal["today", "month", "model", "chatroom"]
    model: str | None = None
    chatroom_id: UUID | None = None
    messages: int = 0
    tokens: Usage = field(default_factory=Usage)
    cost_micros: int = 0
