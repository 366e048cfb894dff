"""The stream's bytes, however they are cut."""

import pytest

from libs.common.events import Usage
from services.ai.chunks import MAX_EVENT, Chunk, ChunkReader, plain, usage_of

STREAM = (
    b": a comment\r\nevent: message\r\n"
    b'data: {"candidates":[{"content":{"parts":[{"text":"K\xc3\xb6ln "}]}}]}\r\n\r\n'
    b'data: {"candidates":[{"content":\n'
    b'data: {"parts":[{"text":"am Rhein"}]},"finishReason":"STOP"}]}\n\n'
    b'data:{"usageMetadata":{"totalTokenCount":7}}'
)


def read(reader: ChunkReader, parts: list[bytes]) -> list[Chunk]:
    return [chunk for part in [*parts, b""] for chunk in reader.feed(part)]


@pytest.mark.parametrize("size", [1, 2, 7, 64, len(STREAM)])
def test_chunks_do_not_depend_on_how_the_stream_is_cut(size: int) -> None:
    reader = ChunkReader()
    chunks = read(reader, [STREAM[i : i + size] for i in range(0, len(STREAM), size)])
    reader.ensure_sound()
    assert "".join(chunk.text for chunk in chunks) == "Köln am Rhein"
    assert [chunk.finish_reason for chunk in chunks] == ["", "STOP", ""]
    assert usage_of(chunks[-1].counts or {}) == Usage(total=7)
    assert reader.is_closed


def test_an_error_may_come_as_bare_json_over_several_lines() -> None:
    chunks = read(ChunkReader(), [b'{\n "error": {\n  "code": 503,\n  "status": "X"\n }\n}\n'])
    assert [chunk.error_code for chunk in chunks] == [503]


def test_what_came_before_garbage_is_kept() -> None:
    reader = ChunkReader()
    good = b'data: {"candidates":[{"content":{"parts":[{"text":"so far"}]}}]}\n\n'
    assert [chunk.text for chunk in reader.feed(good + b"data: {]\n\n" + good)] == ["so far"]
    with pytest.raises(ValueError, match="Expecting"):
        reader.ensure_sound()


def test_an_event_without_an_end_is_refused() -> None:
    reader = ChunkReader()
    reader.feed(b"data: " + b"x" * MAX_EVENT)
    with pytest.raises(ValueError, match="without an end"):
        reader.ensure_sound()


def test_half_a_character_becomes_a_question_mark() -> None:
    chunks = read(
        ChunkReader(), [rb'data: {"candidates":[{"content":{"parts":[{"text":"\ud83d"}]}}]}']
    )
    assert plain("".join(chunk.text for chunk in chunks) + "\x00") == "?"
