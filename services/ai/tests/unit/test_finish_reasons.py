"""U-promises: however Gemini ends a reply, it ends in text or in a typed error."""

import pytest
from google.genai import types

from services.ai.errors import (
    ContentBlockedError,
    ModelError,
    ModelRejectedError,
    ReplyEmptyError,
    ReplyInterruptedError,
)
from services.ai.model import ensure_good

KNOWN: dict[str, str | type[ModelError]] = {
    "STOP": "stop",
    "MAX_TOKENS": "max_tokens",
    "CONTINUATION": "max_tokens",
    "SAFETY": ContentBlockedError,
    "RECITATION": ContentBlockedError,
    "LANGUAGE": ContentBlockedError,
    "BLOCKLIST": ContentBlockedError,
    "PROHIBITED_CONTENT": ContentBlockedError,
    "SPII": ContentBlockedError,
    "MODEL_ARMOR": ContentBlockedError,
    "ESCALATION": ContentBlockedError,
    "IMAGE_SAFETY": ContentBlockedError,
    "IMAGE_PROHIBITED_CONTENT": ContentBlockedError,
    "IMAGE_RECITATION": ContentBlockedError,
    "PUP_LIMITED_DISABLED": ModelRejectedError,
    "FINISH_REASON_UNSPECIFIED": ReplyInterruptedError,
    "OTHER": ReplyInterruptedError,
    "MALFORMED_RESPONSE": ReplyInterruptedError,
    "MALFORMED_FUNCTION_CALL": ReplyInterruptedError,
    "UNEXPECTED_TOOL_CALL": ReplyInterruptedError,
    "TOO_MANY_TOOL_CALLS": ReplyInterruptedError,
    "MISSING_THOUGHT_SIGNATURE": ReplyInterruptedError,
    "IMAGE_OTHER": ReplyInterruptedError,
    "NO_IMAGE": ReplyInterruptedError,
    "": ReplyInterruptedError,
}


def test_the_table_has_every_reason_that_the_sdk_knows() -> None:
    assert {reason.name for reason in types.FinishReason} == set(KNOWN) - {""}


@pytest.mark.parametrize(("reason", "outcome"), KNOWN.items())
def test_every_finish_reason_is_text_or_a_typed_error(
    reason: str, outcome: str | type[ModelError]
) -> None:
    if isinstance(outcome, str):
        assert ensure_good(reason, wrote=True) == outcome
        with pytest.raises(ReplyEmptyError):
            ensure_good(reason, wrote=False)
        return
    with pytest.raises(outcome) as caught:
        ensure_good(reason, wrote=True)
    assert type(caught.value) is outcome


def test_a_reason_that_does_not_exist_yet_is_a_typed_error_that_is_not_asked_again() -> None:
    with pytest.raises(ModelError) as caught:
        ensure_good("BORED", wrote=True)
    assert (caught.value.code, caught.value.transient) == ("model_failed", False)
