"""What is asked of ai in its tests."""

from libs.common.clock import new_id
from libs.common.events import MessagePosted


def posted(content: str = "hello", **values: object) -> MessagePosted:
    return MessagePosted.model_validate(
        {
            "user_id": new_id(),
            "chatroom_id": new_id(),
            "message_id": new_id(),
            "reply_id": new_id(),
            "content": content,
            **values,
        }
    )
