"""Completions over HTTP, for the gateway's OpenAI bridge."""

from typing import Annotated, Literal, Self

from fastapi import APIRouter, Response
from pydantic import Field, model_validator

from libs.common.http import Body, CurrentUser
from libs.common.problems import problems
from libs.common.text import PlainText
from services.chat.actions import completions as actions
from services.chat.api.messages import Accepted, ModelId, accepted
from services.chat.api.parameters import POST_REFUSALS, Res, not_blank

router = APIRouter(tags=["chat"])


class ConversationMessage(Body):
    """A message of a conversation that the client keeps."""

    role: Literal["user", "assistant", "system"]
    content: Annotated[PlainText, Field(min_length=1)]


class Conversation(Body):
    """Body of a completion: the whole conversation so far."""

    messages: Annotated[list[ConversationMessage], Field(min_length=1, max_length=1000)]
    model: ModelId | None = None

    @model_validator(mode="after")
    def _is_a_question(self) -> Self:
        said = [message for message in self.messages if message.role != "system"]
        if not said or said[0].role != "user" or said[-1].role != "user":
            raise ValueError("the first and the last message, but system ones, must be the user's")
        not_blank(said[-1].content)
        return self


@router.post("/completion", status_code=202, responses=problems(*POST_REFUSALS))
async def complete(
    body: Conversation, caller: CurrentUser, res: Res, response: Response
) -> Accepted:
    """Answer a conversation that the client keeps; made for the gateway's `/openai/v1`.

    It costs one message of the plan, as a post does, and its reply is followed in the same way. It
    is in no list and in no search, and is deleted a day later.
    """
    chatroom_id, posted = await actions.complete(
        res,
        user_id=caller.user_id,
        messages=[(message.role, message.content) for message in body.messages],
        model=body.model,
        guest=caller.guest,
    )
    return accepted(posted, chatroom_id, response)
