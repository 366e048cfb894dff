"""The published list of error codes."""

from collections.abc import Iterator
from importlib import import_module

from libs.common.errors import ThoughtflowError
from tests.contracts.tree import ROOT, SERVICES

HEAD = """\
# Errors

Every refusal is a problem document (RFC 9457, `application/problem+json`) with these members:
`type` (`/problems/<code>`), `title`, `status`, `detail` (what to do next), `code` and `request_id`.
Match on `code`: it is never reworded. *Again* says whether the same request may succeed later.

Written by `make contracts` from the error classes; do not edit.

| status | code | meaning | again | from |
|---|---|---|---|---|
"""


def all_errors() -> list[type[ThoughtflowError]]:
    """Return every error class of the libraries and the services, parents first."""
    for path in (ROOT / "libs/common").glob("*.py"):
        import_module(f"libs.common.{path.stem}")
    for service in SERVICES:
        for path in (ROOT / "services" / service).glob("*errors.py"):
            import_module(f"services.{service}.{path.stem}")
    return list(dict.fromkeys(_tree(ThoughtflowError)))


def _tree(error: type[ThoughtflowError]) -> Iterator[type[ThoughtflowError]]:
    yield error
    for child in error.__subclasses__():
        yield from _tree(child)


def coined(errors: list[type[ThoughtflowError]]) -> list[type[ThoughtflowError]]:
    """Return the errors with a code of their own; the others answer as their parent does."""
    return [error for error in errors if "code" in vars(error)]


def errors_page() -> str:
    """Return the text of `docs/api/errors.md`."""
    rows = sorted((error.status, error.code, _row(error)) for error in coined(all_errors()))
    return HEAD + "".join(row for _, _, row in rows)


def _row(error: type[ThoughtflowError]) -> str:
    package, name = error.__module__.split(".")[:2]
    origin = name if package == "services" else "any"
    again = "yes" if error.transient or error.status == 429 else "no"
    return f"| {error.status} | `{error.code}` | {error.title()} | {again} | {origin} |\n"
