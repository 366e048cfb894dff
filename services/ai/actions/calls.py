"""One call to a model, and what calls cost."""

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace

from opentelemetry.trace import SpanKind

from libs.common.events import Usage
from libs.common.tracing import traced
from services.ai import metrics, rules
from services.ai.catalogue import UNPRICED, cost_of
from services.ai.errors import ModelError, ModelSilentError
from services.ai.models import Charge, Draft, Prompt
from services.ai.resources import Resources


class Bill:
    """What the calls of one generation cost so far."""

    def __init__(self) -> None:
        self._charge = Charge("", Usage(), UNPRICED, cost_micros=0, estimated=False)

    def charge(self) -> Charge:
        """Return the sum, under the name and the price of the model asked last."""
        return self._charge

    def add(self, prompt: Prompt, draft: Draft, error: ModelError | None) -> None:
        """Add a call that ended, with `error` or without, or was cancelled.

        The provider's count holds if it ended the reply, or refused the call and so counts nothing.
        Otherwise the tokens are estimated.
        """
        is_refusal = (
            error is not None and draft.pieces == 0 and not isinstance(error, ModelSilentError)
        )
        usage = draft.usage
        if not (draft.is_counted or is_refusal):
            usage = rules.estimated_usage(
                usage, prompt_length=prompt.length(), text_length=len(draft.text)
            )
        cost, version = cost_of(usage, draft.model)
        self._charge = Charge(
            draft.model,
            rules.added(self._charge.usage, usage),
            version,
            cost_micros=self._charge.cost_micros + cost,
            estimated=self._charge.estimated or not (draft.is_counted or is_refusal),
        )


async def stream(
    res: Resources, prompt: Prompt, draft: Draft, bill: Bill, on_text: Callable[[str], None]
) -> None:
    """Let `draft.model` answer, tell its breaker how it went, and add the call to the bill.

    Raises:
        ModelError: there is no complete answer.
    """
    breaker = res.breakers.of(draft.model)
    error: ModelError | None = None
    try:
        with traced("model", SpanKind.CLIENT), metrics.calling(draft) as call:
            await _take_all(res, prompt, draft, on_text, call)
    except ModelError as exc:
        error = exc
        if rules.tells_of_trouble(exc):
            breaker.failed()
        else:
            breaker.succeeded()
        raise
    else:
        breaker.succeeded()
    finally:
        bill.add(prompt, draft, error)


async def _take_all(
    res: Resources, prompt: Prompt, draft: Draft, on_text: Callable[[str], None], call: metrics.Call
) -> None:
    async with aclosing(res.model.answer(prompt, model=draft.model)) as pieces:
        async for piece in pieces:
            call.heard(piece.text)
            room = rules.MAX_REPLY - len(draft.text)
            if len(piece.text) > room:
                draft.take(replace(piece, text=piece.text[:room], finish_reason="max_tokens"))
                on_text(piece.text[:room])
                break
            draft.take(piece)
            on_text(piece.text)
