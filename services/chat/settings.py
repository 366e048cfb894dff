"""Chat's environment."""

from pydantic import Field

from libs.common.plans import PlanSettings


class Settings(PlanSettings):
    """Chat's settings; see `.env.example` for every variable with its meaning.

    Attributes:
        gemini_model: the model that answers where the user chose none; everybody may name it.
        max_output_tokens: length of a reply at most, as ai has it; held back while one is written.
        prompt_tokens: length of a prompt at most, as ai has it.
        reply_deadline_s: seconds after which a reply that did not end is failed.
        basic_backlog: prompts that may wait for a worker before posts of users of Basic are
            refused; 0 is without end.
        pro_backlog: prompts in the queue of other plans before theirs are, too; 0 as above.
    """

    gemini_model: str = Field(default="gemini-3.8-flash", min_length=1)
    max_output_tokens: int = Field(default=4096, ge=1, le=65_536)
    prompt_tokens: int = Field(default=12_000, ge=1000, le=1_000_000)
    reply_deadline_s: int = Field(default=600, ge=60, le=86_400)
    basic_backlog: int = Field(default=1000, ge=0)
    pro_backlog: int = Field(default=10_000, ge=0)

    def chosen(self, model: str | None) -> str | None:
        """Return the model that the plan has to include: none if it is the default one."""
        return None if model == self.gemini_model else model
