"""The table of what google-genai shows for each failure: a service relies on every row."""

import json

import httpx2
import pytest
from google import genai
from google.genai import errors, types

from deploy.local.gemini.catalogue import MODELS
from deploy.local.gemini.faults import MODES
from deploy.local.gemini.tests.conftest import FLASH, Control, finish, read, read_into, sdk

_HTTP = [
    ("e400", errors.ClientError, 400, "INVALID_ARGUMENT"),
    ("e401", errors.ClientError, 401, "UNAUTHENTICATED"),
    ("e403", errors.ClientError, 403, "PERMISSION_DENIED"),
    ("e404", errors.ClientError, 404, "NOT_FOUND"),
    ("e429", errors.ClientError, 429, "RESOURCE_EXHAUSTED"),
    ("e500", errors.ServerError, 500, "INTERNAL"),
    ("e502html", errors.ServerError, 502, "Bad Gateway"),
    ("e503", errors.ServerError, 503, "UNAVAILABLE"),
    ("e504", errors.ServerError, 504, "DEADLINE_EXCEEDED"),
]


def patience_ms(kind: type[Exception]) -> int:
    return 300 if kind is httpx2.ReadTimeout else 10_000


@pytest.mark.parametrize(("mode", "kind", "code", "status"), _HTTP)
async def test_http_errors_arrive_as_their_exception(
    client: genai.Client, mode: str, kind: type[errors.APIError], code: int, status: str
) -> None:
    model = f"{FLASH}--{mode}"

    with pytest.raises(kind) as single:
        await client.aio.models.generate_content(model=model, contents="hi")
    with pytest.raises(kind) as streamed:
        await read(client, model)

    assert (single.value.code, single.value.status) == (code, status)
    assert (streamed.value.code, streamed.value.status) == (code, status)


async def test_a_429_says_how_long_to_wait_in_header_and_details(
    client: genai.Client, control: Control
) -> None:
    await control.order("e429", retry_after_s=17)

    with pytest.raises(errors.ClientError) as caught:
        await read(client, FLASH)

    assert caught.value.response.headers["retry-after"] == "17"
    assert caught.value.details["error"]["details"][0]["retryDelay"] == "17s"


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("stall", httpx2.ReadTimeout),
        ("slow", httpx2.ReadTimeout),
        ("cut", httpx2.RemoteProtocolError),
        ("badjson", json.JSONDecodeError),
        ("garbage", json.JSONDecodeError),
        ("error", errors.ServerError),
    ],
)
async def test_a_spoilt_single_answer_raises(
    base_url: str, control: Control, mode: str, kind: type[Exception]
) -> None:
    async with sdk(base_url, timeout_ms=patience_ms(kind)) as client:
        with pytest.raises(kind) as caught:
            await client.aio.models.generate_content(model=f"{FLASH}--{mode}", contents="hi")

    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("stall", httpx2.ReadTimeout),
        ("cut", httpx2.RemoteProtocolError),
        ("badjson", errors.UnknownApiResponseError),
        ("garbage", errors.UnknownApiResponseError),
        ("error", errors.ServerError),
    ],
)
async def test_a_stream_that_breaks_gives_its_first_chunks_and_then_raises(
    base_url: str, control: Control, mode: str, kind: type[Exception]
) -> None:
    await control.order(mode, after_chunks=3)
    seen: list[types.GenerateContentResponse] = []

    async with sdk(base_url, timeout_ms=patience_ms(kind)) as client:
        with pytest.raises(kind) as caught:
            await read_into(seen, client, FLASH, "Why so blue?")

    assert type(caught.value) is kind
    assert len(seen) == 3


async def test_a_slow_stream_times_out_before_its_first_chunk(
    base_url: str, control: Control
) -> None:
    seen: list[types.GenerateContentResponse] = []

    async with sdk(base_url, timeout_ms=300) as client:
        with pytest.raises(httpx2.ReadTimeout):
            await read_into(seen, client, f"{FLASH}--slow", "hi")

    assert seen == []


async def test_a_truncated_stream_ends_quietly_without_finish_reason(client: genai.Client) -> None:
    chunks = await read(client, f"{FLASH}--truncated")

    assert [chunk.text is not None for chunk in chunks] == [True, True]
    assert [finish(chunk) for chunk in chunks] == [None, None]


async def test_a_break_ordered_after_the_end_still_withholds_the_finish_reason(
    client: genai.Client, control: Control
) -> None:
    await control.order("truncated", after_chunks=9999)

    chunks = await read(client, FLASH, "hello")

    assert len(chunks) > 2
    assert [finish(chunk) for chunk in chunks] == [None] * len(chunks)


async def test_a_truncated_single_answer_has_text_and_no_finish_reason(
    client: genai.Client,
) -> None:
    answer = await client.aio.models.generate_content(model=f"{FLASH}--truncated", contents="hi")

    assert answer.text
    assert finish(answer) is None


async def test_safety_stops_after_some_text(client: genai.Client) -> None:
    *head, last = await read(client, f"{FLASH}--safety")

    assert all(chunk.text for chunk in head)
    assert len(head) == 2
    assert (last.text, finish(last)) == (None, types.FinishReason.SAFETY)


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("safety_empty", types.FinishReason.SAFETY),
        ("recitation", types.FinishReason.RECITATION),
        ("max_tokens_empty", types.FinishReason.MAX_TOKENS),
    ],
)
async def test_an_answer_without_text_has_a_finish_reason_and_no_content(
    client: genai.Client, mode: str, reason: types.FinishReason
) -> None:
    model = f"{FLASH}--{mode}"
    single = await client.aio.models.generate_content(model=model, contents="hi")

    for answer in [single, *(await read(client, model))]:
        assert (answer.text, finish(answer)) == (None, reason)
        assert answer.candidates is not None
        assert answer.candidates[0].content is None


async def test_when_thoughts_take_everything_they_are_billed(client: genai.Client) -> None:
    answer = await client.aio.models.generate_content(
        model=f"{FLASH}--max_tokens_empty",
        contents="hi",
        config=types.GenerateContentConfig(max_output_tokens=99),
    )

    assert answer.usage_metadata is not None
    assert answer.usage_metadata.thoughts_token_count == 99
    assert answer.usage_metadata.total_token_count == 1 + 99


@pytest.mark.parametrize(("mode", "reason"), [("blocked", "SAFETY"), ("empty", None)])
async def test_a_blocked_prompt_and_an_empty_answer_have_no_candidates(
    client: genai.Client, mode: str, reason: str | None
) -> None:
    model = f"{FLASH}--{mode}"
    single = await client.aio.models.generate_content(model=model, contents="hi")

    for answer in [single, *(await read(client, model))]:
        feedback = answer.prompt_feedback
        assert (answer.candidates, answer.text) == (None, None)
        assert (feedback.block_reason if feedback else None) == reason


async def test_a_long_reply_has_as_many_chunks_as_ordered(
    client: genai.Client, control: Control
) -> None:
    await control.order("long", chunks=321)

    chunks = await read(client, FLASH)

    assert len(chunks) == 321
    assert "".join(chunk.text or "" for chunk in chunks).split()[-1] == "321"


async def test_a_tool_call_waits_for_the_tools_answer(client: genai.Client) -> None:
    model = f"{FLASH}--tool_call"
    weather = types.FunctionDeclaration(
        name="look_up", parameters_json_schema={"properties": {"place": {"type": "string"}}}
    )
    config = types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=[weather])],
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    asked = types.Content(role="user", parts=[types.Part.from_text(text="Rain?")])

    first = await client.aio.models.generate_content(model=model, contents=[asked], config=config)
    assert first.function_calls is not None
    assert first.candidates is not None
    call = first.function_calls[0]
    told = types.Part.from_function_response(name="look_up", response={"rain": "none"})
    turns = [asked, first.candidates[0].content, types.Content(role="user", parts=[told])]
    second = await client.aio.models.generate_content(model=model, contents=turns, config=config)

    assert (call.name, call.args) == ("look_up", {"place": "example"})
    assert second.text is not None
    assert '"rain": "none"' in second.text


async def test_an_ordered_fault_hits_only_matching_calls_and_only_as_often(
    client: genai.Client, control: Control
) -> None:
    await control.order("e503", times=2, match="otter")
    outcomes = []
    for text in ("a cat", "an otter", "an otter", "an otter"):
        try:
            await client.aio.models.generate_content(model=FLASH, contents=text)
            outcomes.append(200)
        except errors.ServerError as error:
            outcomes.append(error.code)

    assert outcomes == [200, 503, 503, 200]
    assert [call["fault"] for call in await control.calls()] == [None, "e503", "e503", None]


async def test_a_fault_for_one_method_leaves_the_others_alone(
    client: genai.Client, control: Control
) -> None:
    await control.order("e500", method="countTokens")

    assert await read(client, FLASH)
    with pytest.raises(errors.ServerError):
        await client.aio.models.count_tokens(model=FLASH, contents="hi")


async def test_a_deleted_order_no_longer_applies(client: genai.Client, control: Control) -> None:
    await control.order("e503", times=5)
    await control.http.delete("/_emulator/faults")

    assert await read(client, FLASH)


@pytest.mark.parametrize(
    "order",
    [
        {"mode": "nonsense"},
        {"mode": "e503", "times": 0},
        {"mode": "e503", "tmies": 2},
        {"mode": "safety", "method": "countTokens"},
    ],
)
async def test_an_order_that_makes_no_sense_is_refused(
    control: Control, order: dict[str, object]
) -> None:
    answer = await control.http.post("/_emulator/faults", json=order)

    assert answer.status_code == 400
    assert (await control.http.get("/_emulator/faults")).json() == {"faults": []}


async def test_a_phrase_in_the_text_is_no_trigger(client: genai.Client) -> None:
    for mode in MODES:
        chunks = await read(client, FLASH, f"please fail with --{mode} or {mode}")
        assert finish(chunks[-1]) == types.FinishReason.STOP


async def test_an_unknown_mode_in_a_model_name_is_an_unknown_model(client: genai.Client) -> None:
    with pytest.raises(errors.ClientError, match="no fault mode") as caught:
        await client.aio.models.generate_content(model=f"{FLASH}--oops", contents="hi")

    assert caught.value.code == 404
    assert f"{FLASH}--oops" not in MODELS
