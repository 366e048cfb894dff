"""The status page. Built as an element tree, so whatever a caller sent is escaped."""

from collections.abc import Iterable
from xml.etree.ElementTree import Element, SubElement, tostring

from deploy.local.gemini.faults import MODES, FaultBook
from deploy.local.gemini.journal import Entry, Journal

_SHOWN = 50
_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%;margin:.5rem 0 2rem}
th,td{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #8884;vertical-align:top}
:root{color-scheme:light dark}"""
_REFRESH_S = "3"


def render(journal: Journal, faults: FaultBook) -> str:
    """Make the page: active faults and the last calls, newest first."""
    root = Element("html", lang="en")
    head = SubElement(root, "head")
    SubElement(head, "meta", charset="utf-8")
    SubElement(head, "meta", {"http-equiv": "refresh", "content": _REFRESH_S})
    SubElement(head, "title").text = "Gemini emulator (not Google)"
    SubElement(head, "style").text = _STYLE
    body = SubElement(root, "body")
    SubElement(body, "h1").text = "Gemini emulator (not Google)"
    SubElement(body, "p").text = (
        "Speaks the wire protocol of Google's Gemini with no model behind it. "
        "Set GEMINI_API_KEY to talk to the real one."
    )
    _section(
        body,
        f"Last requests (newest first, at most {_SHOWN})",
        ("#", "method", "model", "last user text", "fault", "status", "chunks", "outcome"),
        [_row(entry) for entry in reversed(journal.entries()[-_SHOWN:])],
    )
    orders: list[tuple[str, ...]] = [
        (str(f["times"]), f["mode"], MODES[f["mode"]], f.get("match", "any"))
        for f in faults.as_json()
    ]
    _section(body, "Active faults", ("left", "mode", "effect", "matching text"), orders)
    # ElementTree writes no doctype, and without one browsers fall back to quirks mode.
    markup: str = tostring(root, encoding="unicode", method="html")
    return f"<!DOCTYPE html>{markup}"


def _row(entry: Entry) -> tuple[str, ...]:
    outcome = "aborted by client" if entry.aborted else "ended" if entry.ended else "in progress"
    return (
        str(entry.id),
        entry.method,
        entry.model,
        entry.last_user_text[:120],
        entry.fault or "",
        str(entry.status or ""),
        str(entry.chunks),
        outcome,
    )


def _section(
    body: Element, title: str, headings: Iterable[str], rows: list[tuple[str, ...]]
) -> None:
    SubElement(body, "h2").text = title
    if not rows:
        SubElement(body, "p").text = "None."
        return
    table = SubElement(body, "table")
    heading_row = SubElement(table, "tr")
    for heading in headings:
        SubElement(heading_row, "th").text = heading
    for row in rows:
        line = SubElement(table, "tr")
        for cell in row:
            SubElement(line, "td").text = cell
