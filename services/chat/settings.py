"""Chat's environment."""

from pydantic import Field

from libs.common.events import Entitlements
from libs.common.settings import CommonSettings, split_names


class Settings(CommonSettings):
    """Chat's settings; see `.env.example` for every variable with its meaning.

    Attributes:
        basic_messages_per_day: messages per UTC day of a user whom billing never spoke of.
        guest_messages_per_day: the same for a guest; 0 leaves guests nothing to send.
        basic_models: ids of the models that such a user may choose, separated by commas; without
            one there is only the default model.
        gemini_model: the model that answers where the user chose none; everybody may name it.
        reply_deadline_s: seconds after which a reply that did not end is failed.
        basic_backlog: prompts that may wait for a worker before posts of users of Basic are
            refused; 0 is without end.
        pro_backlog: prompts in the queue of other plans before theirs are, too; 0 as above.
    """

    basic_messages_per_day: int = Field(default=20, ge=0)
    guest_messages_per_day: int = Field(default=5, ge=0)
    basic_models: str = ""
    gemini_model: str = Field(default="gemini-3.8-flash", min_length=1)
    reply_deadline_s: int = Field(default=600, ge=60, le=86_400)
    basic_backlog: int = Field(default=1000, ge=0)
    pro_backlog: int = Field(default=10_000, ge=0)

    def unbilled(self, *, guest: bool) -> Entitlements:
        """Return what a user may do whom billing never spoke of."""
        if guest:
            return Entitlements(messages_per_day=self.guest_messages_per_day)
        models = split_names(self.basic_models)
        return Entitlements(messages_per_day=self.basic_messages_per_day, models=models)

    def chosen(self, model: str | None) -> str | None:
        """Return the model that the plan has to include: none if it is the default one."""
        return None if model == self.gemini_model else model
