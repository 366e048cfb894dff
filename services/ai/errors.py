"""Ai's error codes; those of a reply are what its reader sees."""

from libs.common.errors import ThoughtflowError, UnavailableError


class GenerationBusyError(UnavailableError):
    """Another worker is writing this reply."""

    code = "generation_busy"
    patient = True  # it ends, or its worker does


class TooManyRepliesError(UnavailableError):
    """The user has as many replies written at once as one user may."""

    code = "user_busy"
    patient = True  # one of them ends


class StopRequestedError(Exception):
    """The user wants the reply to end; a signal inside ai that nobody else sees."""


class TakenOverError(Exception):
    """Another worker writes the reply by now; a signal inside ai that nobody else sees."""


class ModelError(ThoughtflowError):
    """The model gave no reply.

    Attributes:
        retry_after_s: how long the provider asks us to wait, if it said so.
    """

    status = 502
    code = "model_failed"

    def __init__(self, detail: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class ModelUnavailableError(ModelError):
    """The model does not answer right now."""

    code = "model_unavailable"
    transient = True


class ModelSilentError(ModelUnavailableError):
    """The model took our request and fell silent."""


class ModelOverloadedError(ModelError):
    """The model has too much to do right now."""

    code = "model_overloaded"
    transient = True


class ReplyInterruptedError(ModelError):
    """The model stopped in the middle of its reply."""

    code = "reply_interrupted"
    transient = True


class ReplyEmptyError(ModelError):
    """The model answered without a word."""

    code = "reply_empty"
    transient = True


class BudgetExceededError(ModelError):
    """What the models may cost is used up."""

    status = 429
    code = "budget_exceeded"


class ReplyTimedOutError(ModelError):
    """The reply took too long."""

    code = "reply_timed_out"
    transient = True


class ContentBlockedError(ModelError):
    """The provider's safety rules blocked the message or its reply."""

    code = "content_blocked"


class ModelRejectedError(ModelError):
    """The provider refused our request; the operator has to look."""

    code = "model_rejected"
