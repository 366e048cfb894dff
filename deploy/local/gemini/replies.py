"""What the emulator says: a function of the contents alone, so equal requests get equal replies."""

import json
import re

from deploy.local.gemini.chatter import chat
from deploy.local.gemini.phrasing import flat, key_words, quote, user_texts, words
from deploy.local.gemini.wire import Content, GenerateRequest

_ORDER = r"\b(?:reply|respond|answer|return|write|give|generate|create|suggest|produce|make)\b"
_TITLE_ORDER = re.compile(rf"{_ORDER}[^.\n]*\btitles?\b", re.IGNORECASE)
_SUMMARY_ORDER = re.compile(
    r"\bsummari[sz]e\b|\b(?:a|the|write|give) (?:\w+ )?summary\b", re.IGNORECASE
)
_SPEAKER = re.compile(r"^\s*(?:user|human|question|message|q)\s*:\s*", re.IGNORECASE)
_TITLE_WORDS = 5
_SUMMARY_POINTS = 5


def compose(request: GenerateRequest) -> str:
    """Answer the last user turn; a title or summary when it or the instruction orders one."""
    said = flat(request.last_user_text)
    for order in (request.instruction, said):
        if _TITLE_ORDER.search(order):
            return _title(request.contents, ordered_by_user=order is said)
        if _SUMMARY_ORDER.search(order):
            return _summary(request.contents)
    reply = (
        _on_tool_answers(request.contents[-1])
        or _on_attachments(request.contents[-1], said)
        or chat(said, user_texts(request.contents[:-1]))
    )
    if request.generation_config.response_mime_type == "application/json":
        return json.dumps({"reply": reply}, ensure_ascii=False)
    return reply


def _title(contents: list[Content], *, ordered_by_user: bool) -> str:
    said = [content.text for content in contents if content.role != "model"]
    if ordered_by_user:
        # "Suggest a title for: ..." names its matter; without one it means the turns before.
        matter = said[-1].partition(":")[2]
        said = [matter] if matter.strip() else said[:-1]
    lines = [line for text in said for line in text.splitlines() if line.strip()]
    first = _SPEAKER.sub("", lines[0]) if lines else ""
    title = key_words(first, _TITLE_WORDS) or words(first)[:_TITLE_WORDS]
    return " ".join(word[:1].upper() + word[1:] for word in title) or "New Conversation"


def _summary(contents: list[Content]) -> str:
    said = user_texts(contents)
    topics = ", ".join(key_words(" ".join(said), 6)) or "little yet"
    lines = [f"In short, over {len(contents)} turns, this was about {topics}:", ""]
    lines += [f"- You: {quote(text, 80)}" for text in said[:_SUMMARY_POINTS]]
    if len(said) > _SUMMARY_POINTS:
        lines.append(f"- and {len(said) - _SUMMARY_POINTS} more")
    return "\n".join(lines)


def _on_tool_answers(turn: Content) -> str | None:
    answers = [part.function_response for part in turn.parts if part.function_response]
    told = "; ".join(f"`{each.name}` says `{json.dumps(each.response)[:200]}`" for each in answers)
    return f"The tool has answered: {told}." if told else None


def _on_attachments(turn: Content, said: str) -> str | None:
    blobs = [part.inline_data for part in turn.parts if part.inline_data]
    kinds = [f"{blob.mime_type}, {blob.size:,} bytes" for blob in blobs]
    kinds += [part.file_data.mime_type for part in turn.parts if part.file_data]
    if not kinds:
        return None
    about = f' You wrote: "{quote(said)}".' if said else ""
    return (
        f"Thank you for the attachment ({'; '.join(kinds)}).{about} "
        "A local emulator cannot look inside, but it arrived whole."
    )
