"""Reads `.env.example`: comment lines, then `NAME=value`, or `#NAME=default` where optional."""

import re
from dataclasses import dataclass

from tests.contracts.tree import ENV_EXAMPLE, SERVICES

_ENTRY = re.compile(r"(?P<comment>(?:# .+\n)+)(?P<optional>#?)(?P<name>[A-Z0-9_]+)=(?P<value>.*)\n")
_READERS = re.compile(r"\[([a-z ]+)\]$")
_HEADING = re.compile(r"## .+\n")


@dataclass(frozen=True)
class Entry:
    """One variable.

    Attributes:
        comment: its meaning, as one line.
        required: whether the line is not commented out.
        value: what stands behind the `=`.
        readers: services that read it, sorted.
    """

    comment: str
    required: bool
    value: str
    readers: tuple[str, ...]


def entries() -> dict[str, Entry]:
    """Return every variable of the file by its name.

    Raises:
        ValueError: a paragraph is neither an entry nor a heading, or a variable is there twice.
    """
    found: dict[str, Entry] = {}
    _, *paragraphs = ENV_EXAMPLE.read_text(encoding="utf-8").strip().split("\n\n")
    for paragraph in paragraphs:
        if _HEADING.fullmatch(f"{paragraph}\n"):
            continue
        match = _ENTRY.fullmatch(f"{paragraph}\n")
        if match is None or match["name"] in found:
            raise ValueError(f"neither a comment with one new variable nor a heading: {paragraph}")
        comment = " ".join(line.removeprefix("# ") for line in match["comment"].splitlines())
        readers = _READERS.search(comment)
        found[match["name"]] = Entry(
            comment=comment,
            required=not match["optional"],
            value=match["value"],
            readers=tuple(readers[1].split()) if readers else SERVICES,
        )
    return found
