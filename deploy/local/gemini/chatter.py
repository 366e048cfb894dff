"""Small talk about one message, with a memory of the user's earlier ones."""

import re
import zlib

from deploy.local.gemini import arithmetic
from deploy.local.gemini.phrasing import key_words, quote

_NAME = re.compile(r"\b(?:my name is|call me)\s+(\w[\w'-]{0,30})", re.IGNORECASE)
_NAME_ASKED = re.compile(r"\bwhat(?:'s| is) my name\b|\bwho am i\b", re.IGNORECASE)
_SAID_ASKED = re.compile(r"\bwhat did i (?:just )?(?:say|ask|tell|write)\b", re.IGNORECASE)
_COUNT = re.compile(r"\bcount (?:up )?to (\d{1,3})\b", re.IGNORECASE)
_GREETING = re.compile(
    r"^(?:hi|hello|hey|hallo|hola|namaste|howdy|greetings|good (?:morning|afternoon|evening))\b"
    r"(?:[\s,]+(?:there|all|everyone|gemini|thoughtflow|you))*[\s!.,]*$",
    re.IGNORECASE,
)
_THANKS = re.compile(r"^(?:many )?(?:thanks|thank you|thx|cheers)\b.{0,30}$", re.IGNORECASE)
_WHO = re.compile(
    r"\b(?:who|what) (?:are|r) you\b|\bare you (?:a|an|the|real|google|gemini)\b", re.IGNORECASE
)
_STORY = re.compile(
    r"\b(?:tell|write)\b.{0,20}\b(?:story|poem|essay)\b(?:\s+(?:about|on|of)\s+(.+))?",
    re.IGNORECASE,
)
_QUESTION = re.compile(
    r"\?\s*$|^(?:who|what|when|where|why|how|which|can|could|is|are|do|does|should|explain|describe)\b",
    re.IGNORECASE,
)

_THOUGHTFLOW = """**Thoughtflow** is a self-hosted backend for AI chat products:

- five services (gateway, auth, chat, ai, billing) that talk over RabbitMQ
- PostgreSQL for what must last, Valkey for what must be quick
- Gemini writes the replies and Stripe handles the plans

Right now I, the local Gemini emulator, play the part of the model."""
_SELF = (
    "I am the local Gemini emulator: I speak the protocol of Google's Gemini, with a few set "
    "phrases instead of a mind. Set `GEMINI_API_KEY` and the real model answers here."
)
_TALE = """## A short story about {hero}

Once upon a time, on a laptop far from any data centre, there was {hero}. Nobody had given it a \
model with billions of weights; it had a handful of sentences and a good heart. Every message that \
came in was read twice, and every reply went out word by word, as if a great mind were thinking.

One evening the network went away. The big models fell silent, the dashboards turned red, and only \
{hero} kept on answering, politely and for free. "It is not wisdom," it said, "but it is here." \
And the tests, all of them, were green ever after.

*Told by the local Gemini emulator, which knows just this one story.*"""
_ON_QUESTIONS = (
    """Good question: "{quoted}?" It turns on {subject}. As the local Gemini emulator I can repeat \
it with style, but a real answer needs the real model. {since}.""",
    """You would like to know about {subject}. {since}, and this is what a local emulator can offer:

1. your question, received in full: "{quoted}"
2. a friendly nod
3. the advice to set `GEMINI_API_KEY` for a real answer""",
)
_ON_STATEMENTS = (
    """Noted: "{quoted}". The gist: {subject}. {since}; the local emulator listens well.""",
    """Understood, this is about {subject}. {since}. A real model would have opinions now; the \
local emulator simply agrees with you.""",
)


def chat(said: str, earlier: list[str]) -> str:
    """Answer a message on one line.

    Args:
        said: the message; may be empty.
        earlier: the user's messages before it, oldest first.
    """
    if not said:
        return "There were no words in that message. Write me a line and I will answer it."
    if result := arithmetic.answer(said):
        return f"{result} Sums are the one thing even a local emulator gets right."
    return _small_talk(said, earlier) or _from_memory(said, earlier) or _echo(said, earlier)


def _small_talk(said: str, earlier: list[str]) -> str | None:
    if _GREETING.match(said):
        hello = "Hello again!" if earlier else "Hello!"
        return f"{hello} I am the local Gemini emulator. What shall we talk about?"
    if _THANKS.match(said):
        return "You are welcome! Emulators aim to please."
    if _WHO.search(said):
        return _SELF
    if story := _STORY.search(said):
        return _TALE.format(hero=quote(story[1] or "a small emulator", 60))
    if (count := _COUNT.search(said)) and int(count[1]):
        return ", ".join(str(n) for n in range(1, int(count[1]) + 1)) + "."
    return _THOUGHTFLOW if "thoughtflow" in said.casefold() else None


def _from_memory(said: str, earlier: list[str]) -> str | None:
    if _NAME_ASKED.search(said):
        names = [found[1] for text in earlier if (found := _NAME.search(text))]
        return f"You told me: **{names[-1]}**." if names else "You have not told me your name yet."
    if named := _NAME.search(said):
        return f"Nice to meet you, **{named[1]}**! Even a local emulator can remember that."
    if earlier and _SAID_ASKED.search(said):
        count = "1 message" if len(earlier) == 1 else f"{len(earlier)} messages"
        return (
            f'Just before, you wrote: "{quote(earlier[-1])}". That makes {count} before this one.'
        )
    return None


def _echo(said: str, earlier: list[str]) -> str:
    forms = _ON_QUESTIONS if _QUESTION.search(said) else _ON_STATEMENTS
    since = f"This is message {len(earlier) + 1} of our talk" if earlier else "We have just begun"
    subject = ", ".join(f"**{word}**" for word in key_words(said, 4)) or "your own words"
    form = forms[zlib.crc32(said.encode()) % len(forms)]
    return form.format(quoted=quote(said), subject=subject, since=since)
