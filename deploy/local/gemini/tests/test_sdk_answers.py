"""Replies, usage, counting, embeddings and models as google-genai reads them."""

import math

import pytest
from google import genai
from google.genai import errors, types

from deploy.local.gemini.catalogue import MODELS
from deploy.local.gemini.tests.conftest import FLASH, Control, finish, read, sdk


def turn(role: str, text: str) -> types.Content:
    return types.Content(role=role, parts=[types.Part.from_text(text=text)])


def text_of(chunks: list[types.GenerateContentResponse]) -> str:
    return "".join(chunk.text or "" for chunk in chunks)


@pytest.mark.parametrize("version", ["v1", "v1beta"])
async def test_both_api_versions_serve_everything(
    base_url: str, control: Control, version: str
) -> None:
    async with sdk(base_url, version=version) as client:
        models = client.aio.models

        assert (await models.generate_content(model=FLASH, contents="hi")).text
        assert text_of(await read(client, FLASH))
        assert (await models.count_tokens(model=FLASH, contents="hi there")).total_tokens == 3
        assert (await models.embed_content(model="gemini-embedding-001", contents="a")).embeddings
        assert (await models.get(model="gemini-2.5-pro")).name == "models/gemini-2.5-pro"
        listed = [model.name async for model in await models.list()]

    assert listed == [f"models/{name}" for name in MODELS]
    assert {call["path"].split("/")[1] for call in await control.calls()} == {version}


async def test_equal_contents_get_equal_text_and_usage_in_both_forms(client: genai.Client) -> None:
    talk = [turn("user", "hello"), turn("model", "Hi!"), turn("user", "Why is the sea salty?")]

    singles = [
        await client.aio.models.generate_content(model=FLASH, contents=list(talk)) for _ in range(2)
    ]
    stream = await client.aio.models.generate_content_stream(model=FLASH, contents=list(talk))
    chunks = [chunk async for chunk in stream]

    assert singles[0].text == singles[1].text == text_of(chunks)
    assert singles[0].usage_metadata == singles[1].usage_metadata == chunks[-1].usage_metadata
    assert singles[0].response_id != singles[1].response_id


async def test_a_stream_comes_in_small_chunks_under_one_id(client: genai.Client) -> None:
    chunks = await read(client, FLASH)

    assert len(chunks) > 3
    assert all(1 <= len((chunk.text or "").split()) <= 3 for chunk in chunks)
    assert len({chunk.response_id for chunk in chunks}) == 1
    assert {chunk.model_version for chunk in chunks} == {FLASH}
    assert [finish(chunk) for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert finish(chunks[-1]) == types.FinishReason.STOP


async def test_only_the_last_chunk_has_the_whole_usage_and_it_adds_up(client: genai.Client) -> None:
    *early, last = await read(client, FLASH, "one two three")

    for chunk in early:
        assert chunk.usage_metadata is not None
        assert chunk.usage_metadata.total_token_count == 4
        assert chunk.usage_metadata.candidates_token_count is None
    usage = last.usage_metadata
    assert usage is not None
    assert usage.prompt_token_count == 4  # 1 + 1 + 2: a token per four letters of a word
    assert usage.candidates_token_count
    assert usage.thoughts_token_count
    assert usage.total_token_count == (
        usage.prompt_token_count + usage.candidates_token_count + usage.thoughts_token_count
    )


async def test_a_long_talk_is_cached_in_part_and_the_cache_is_not_counted_twice(
    client: genai.Client,
) -> None:
    talk = [turn("user", "word " * 1500), turn("model", "ok"), turn("user", "and now?")]

    answer = await client.aio.models.generate_content(model=FLASH, contents=list(talk))

    usage = answer.usage_metadata
    assert usage is not None
    assert usage.cached_content_token_count == 1501
    assert usage.prompt_token_count == 1503
    assert usage.total_token_count == (
        1503 + (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
    )


@pytest.mark.parametrize("limit", [1, 2, 7, 20])
async def test_thoughts_and_text_never_exceed_max_output_tokens(
    client: genai.Client, limit: int
) -> None:
    answer = await client.aio.models.generate_content(
        model=FLASH,
        contents="Tell me a story",
        config=types.GenerateContentConfig(max_output_tokens=limit),
    )

    usage = answer.usage_metadata
    assert usage is not None
    assert finish(answer) == types.FinishReason.MAX_TOKENS
    assert (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0) == limit
    assert answer.text


@pytest.mark.parametrize(
    ("thinking", "tokens"),
    [
        (types.ThinkingConfig(thinking_budget=0), None),
        (types.ThinkingConfig(thinking_budget=5), 5),
        (types.ThinkingConfig(thinking_level=types.ThinkingLevel.LOW), 16),
        (types.ThinkingConfig(thinking_level=types.ThinkingLevel.HIGH), 64),
    ],
)
async def test_thinking_is_as_long_as_configured(
    client: genai.Client, thinking: types.ThinkingConfig, tokens: int | None
) -> None:
    config = types.GenerateContentConfig(thinking_config=thinking)
    answer = await client.aio.models.generate_content(model=FLASH, contents="hi", config=config)

    assert answer.usage_metadata is not None
    assert answer.usage_metadata.thoughts_token_count == tokens


async def test_thoughts_are_shown_on_request_and_are_not_text(client: genai.Client) -> None:
    thinking = types.ThinkingConfig(include_thoughts=True)
    answer = await client.aio.models.generate_content(
        model=FLASH, contents="hi", config=types.GenerateContentConfig(thinking_config=thinking)
    )

    assert answer.parts is not None
    assert [part.thought for part in answer.parts] == [True, None]
    assert "Thinking" not in (answer.text or "")


async def test_a_stop_sequence_ends_the_text(client: genai.Client) -> None:
    answer = await client.aio.models.generate_content(
        model=FLASH,
        contents="Count to 9",
        config=types.GenerateContentConfig(stop_sequences=[", 5"]),
    )

    assert answer.text == "1, 2, 3, 4"


async def test_attachments_are_counted_by_modality_and_named(client: genai.Client) -> None:
    picture = types.Part.from_bytes(data=b"\xff" * 1000, mime_type="image/png")
    parts = [types.Part.from_text(text="What is this?"), picture]
    contents = [types.Content(role="user", parts=parts)]

    answer = await client.aio.models.generate_content(model=FLASH, contents=contents)

    assert "image/png, 1,000 bytes" in (answer.text or "")
    assert answer.usage_metadata is not None
    details = answer.usage_metadata.prompt_tokens_details or []
    assert {(str(d.modality), d.token_count) for d in details} == {
        ("MediaModality.TEXT", 4),
        ("MediaModality.IMAGE", 258),
    }


async def test_counting_agrees_with_what_a_reply_is_charged_for(client: genai.Client) -> None:
    talk = [turn("user", "A first message"), turn("model", "Indeed"), turn("user", "more?")]

    counted = await client.aio.models.count_tokens(model=FLASH, contents=list(talk))
    answer = await client.aio.models.generate_content(model=FLASH, contents=list(talk))

    assert answer.usage_metadata is not None
    assert counted.total_tokens == answer.usage_metadata.prompt_token_count


async def test_embeddings_are_unit_vectors_nearer_for_shared_words(client: genai.Client) -> None:
    answer = await client.aio.models.embed_content(
        model="gemini-embedding-001",
        contents=["the red fox", "the red dog", "quarterly tax report"],
        config=types.EmbedContentConfig(output_dimensionality=768),
    )

    assert answer.embeddings is not None
    fox, dog, tax = (each.values or [] for each in answer.embeddings)
    assert len(fox) == 768
    assert math.hypot(*fox) == pytest.approx(1)
    likeness = [sum(a * b for a, b in zip(fox, other, strict=True)) for other in (dog, tax)]
    assert likeness[0] > likeness[1] + 0.3


@pytest.mark.parametrize("model", ["gemini-1.0-nano", "gemini-embedding-001"])
async def test_a_model_that_cannot_generate_is_not_found(client: genai.Client, model: str) -> None:
    with pytest.raises(errors.ClientError) as caught:
        await client.aio.models.generate_content(model=model, contents="hi")

    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("instruction", "texts", "title"),
    [
        ("Reply with a title of at most five words.", ["How do tides work?"], "Tides Work"),
        ("Write a short title for this chat.", ["User: plan a trip to Rome"], "Plan Trip Rome"),
        ("", ["Why do cats purr?", "Suggest a title for this chat"], "Cats Purr"),
        ("", ["Give me a title for: the history of tea"], "History Tea"),
        ("Generate a title.", ["What is it?"], "What Is It"),
        ("Generate a title.", ["???"], "New Conversation"),
    ],
)
async def test_an_ordered_title_is_short_and_about_the_talk(
    client: genai.Client, instruction: str, texts: list[str], title: str
) -> None:
    answer = await client.aio.models.generate_content(
        model=FLASH,
        contents=[turn("user", text) for text in texts],
        config=types.GenerateContentConfig(system_instruction=instruction or None),
    )

    assert answer.text == title
