"""One reply while it is written."""

from dataclasses import dataclass

from libs.common.events import MessagePosted
from services.ai.actions import calls
from services.ai.live import LiveReply
from services.ai.models import Claim, Draft, Prompt
from services.ai.worker import Writing


@dataclass(slots=True)
class Run:
    """One reply while this worker writes it.

    Attributes:
        writing: hears of a stop.
        prompt: what the models are asked.
        draft: the newest attempt.
        live: where its text is shown.
        bill: of all attempts.
        began: of the loop's clock, seconds.
        claim: the right to write it.
    """

    event: MessagePosted
    writing: Writing
    prompt: Prompt
    draft: Draft
    live: LiveReply
    bill: calls.Bill
    began: float
    claim: Claim
