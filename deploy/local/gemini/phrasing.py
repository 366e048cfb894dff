"""Picking the telling words out of what somebody wrote."""

import re

from deploy.local.gemini.wire import Content

_FILLER = frozenset(
    """a about am an and any are at be can could describe did do does explain for from give has
    have help hey hi how i i'm in is it its let like make me my of on or please should so
    some tell than that the their them then there these they this to us was we were what
    what's when where which who why will with would write you your""".split()  # noqa: SIM905 - forty lines of list read worse
)


def flat(text: str) -> str:
    """Put a text on one line."""
    return " ".join(text.split())


def quote(text: str, limit: int = 160) -> str:
    """Clip a text to `limit` characters, without Markdown and its end mark, to be quoted."""
    plain = flat(re.sub(r"[*_`#>\[\]]", "", text)).rstrip(" ?.!")
    return plain if len(plain) <= limit else f"{plain[:limit].rstrip()}\N{HORIZONTAL ELLIPSIS}"


def words(text: str) -> list[str]:
    """Split a text into words without punctuation, each at most 30 characters."""
    stripped = (word.strip("\"'.,;:!?()*`_#")[:30] for word in text.split())
    return [word for word in stripped if word]


def key_words(text: str, limit: int) -> list[str]:
    """List the first `limit` different words that carry meaning; there may be none."""
    telling = (word for word in words(text) if word.casefold() not in _FILLER)
    return list(dict.fromkeys(telling))[:limit]


def user_texts(contents: list[Content]) -> list[str]:
    """List what the user said, oldest first, each on one line."""
    said = (flat(content.text) for content in contents if content.role != "model")
    return [text for text in said if text]
