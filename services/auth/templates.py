"""What a message with a one-time code says, in each language that we speak."""

from dataclasses import dataclass
from datetime import datetime
from math import ceil


@dataclass(frozen=True, slots=True)
class Template:
    """One language's; `{code}` and `{minutes}` are filled in."""

    subject: str
    text: str


DEFAULT = "en"
TEMPLATES = {
    "en": Template(
        "{code} is your code",
        "{code} is your Thoughtflow code. It works for {minutes} min. Never share it: we will not "
        "ask you for it.",
    ),
    "de": Template(
        "{code} ist dein Code",
        "{code} ist dein Thoughtflow-Code. Er gilt {minutes} Min. Gib ihn nie weiter: Wir fragen "
        "nicht danach.",
    ),
    "es": Template(
        "{code} es tu código",
        "{code} es tu código de Thoughtflow. Vale {minutes} min. No lo compartas: nunca te lo "
        "pediremos.",
    ),
    "fr": Template(
        "{code} est votre code",
        "{code} est votre code Thoughtflow. Il est valable {minutes} min. Ne le donnez pas : nous "
        "ne le demanderons jamais.",
    ),
}
_MAX_RANGES = 20
"""Of an Accept-Language header; browsers send a handful."""


def negotiate(accept_language: str) -> str:
    """Return the language that an Accept-Language header (RFC 9110) prefers of ours."""
    best, highest = DEFAULT, 0.0
    for part in accept_language.split(",")[:_MAX_RANGES]:
        tag, _, weight = part.partition(";")
        language = tag.strip().lower().partition("-")[0]
        quality = _quality(weight)
        if language in TEMPLATES and quality > highest:
            best, highest = language, quality
    return best


def _quality(weight: str) -> float:
    name, _, value = weight.partition("=")
    if not name.strip():
        return 1.0
    try:
        return float(value) if name.strip() == "q" else 0.0
    except ValueError:
        return 0.0


def render(language: str, code: str, *, expires_at: datetime, now: datetime) -> Template:
    """Return what is sent now, with whole minutes rounded up."""
    minutes = max(1, ceil((expires_at - now).total_seconds() / 60))
    template = TEMPLATES[language]
    return Template(
        template.subject.format(code=code), template.text.format(code=code, minutes=minutes)
    )
