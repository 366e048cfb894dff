"""What happens to the connection, and what the log and the page say about it."""

import asyncio
import contextlib
import signal
import subprocess
import time

import httpx2
import pytest

from deploy.local.gemini.tests.conftest import FLASH, Control, read, sdk, start
from tests.ports import free_port

HELLO = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
GENERATE = f"/v1/models/{FLASH}:generateContent"
STREAM = f"/v1/models/{FLASH}:streamGenerateContent?alt=sse"
KEY = {"x-goog-api-key": "secret-value"}


async def test_a_stream_whose_reader_is_cancelled_is_seen_as_aborted(
    base_url: str, control: Control
) -> None:
    await control.order("stall", after_chunks=1)
    async with sdk(base_url, timeout_ms=30_000) as client:
        reader = asyncio.create_task(read(client, FLASH))
        running = await control.last_call_when(lambda call: call["chunks"] == 1)
        reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reader

        call = await control.last_call_when(lambda call: call["aborted"])

    assert (running["started"], running["ended"], running["aborted"]) == (True, False, False)
    assert (call["ended"], call["chunks"], call["fault"]) == (False, 1, "stall")


async def test_a_response_closed_between_chunks_is_seen_as_aborted(control: Control) -> None:
    await control.order("stall", after_chunks=2)
    async with control.http.stream("POST", STREAM, json=HELLO, headers=KEY) as answer:
        assert (await anext(answer.aiter_lines())).startswith("data: ")

    assert not (await control.last_call_when(lambda call: call["aborted"]))["ended"]


async def test_a_client_that_gives_up_on_a_slow_reply_is_seen_as_aborted(
    base_url: str, control: Control
) -> None:
    await control.order("slow", delay_s=60)
    async with sdk(base_url, timeout_ms=100) as client:
        with pytest.raises(httpx2.ReadTimeout):
            await client.aio.models.generate_content(model=FLASH, contents="hi")

    call = await control.last_call_when(lambda call: call["aborted"])

    assert (call["started"], call["ended"]) == (False, False)


@pytest.mark.parametrize("mode", [None, "cut", "truncated", "e503"])
async def test_what_the_emulator_ends_itself_is_not_aborted(
    control: Control, mode: str | None
) -> None:
    if mode:
        await control.order(mode)
    with contextlib.suppress(httpx2.RemoteProtocolError):
        await control.http.post(STREAM, json=HELLO, headers=KEY)

    call = await control.last_call_when(lambda call: call["ended"])

    assert not call["aborted"]
    assert call["status"] == (503 if mode == "e503" else 200)


async def test_the_log_has_the_body_but_no_header_values_and_no_key(control: Control) -> None:
    await control.http.post(GENERATE, json=HELLO, headers=KEY)
    await control.http.post(f"{GENERATE}?key=secret-value", json=HELLO)
    await control.http.post(GENERATE, json=HELLO)

    log = await control.http.get("/_emulator/requests")

    calls = log.json()["requests"]
    assert [call["key_in"] for call in calls] == ["header", "query", None]
    assert [call["status"] for call in calls] == [200, 200, 403]
    assert calls[0]["body"] == HELLO
    assert "x-goog-api-key" in calls[0]["headers"]
    assert "secret-value" not in log.text


async def test_the_log_is_emptied_on_request(control: Control) -> None:
    await control.http.post(GENERATE, json=HELLO, headers=KEY)
    await control.http.delete("/_emulator/requests")

    log = await control.http.get("/_emulator/requests")

    assert log.json() == {"total": 0, "open": 0, "requests": []}


@pytest.mark.parametrize("headers", [{}, {"x-goog-api-key": ""}])
@pytest.mark.parametrize(("method", "path"), [("POST", GENERATE), ("GET", "/v1beta/models")])
async def test_no_key_is_permission_denied(
    control: Control, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = await control.http.request(method, path, json=HELLO, headers=headers)

    assert answer.status_code == 403
    assert answer.json()["error"]["status"] == "PERMISSION_DENIED"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "contents"),
        ({"contents": []}, "contents"),
        ({"contents": [{"parts": []}]}, "contents[0].parts"),
        ({"contents": [{"parts": [{}]}]}, "contents[0].parts[0]"),
        ({"contents": [{"role": "boss", "parts": [{"text": "a"}]}]}, "contents[0].role"),
        ({**HELLO, "generationConfig": {"temperature": 9}}, "generationConfig.temperature"),
        ({**HELLO, "generation_config": {"top_p": 2}}, "generation_config.top_p"),
        ({**HELLO, "sytemInstruction": {}}, "sytemInstruction"),
    ],
)
async def test_a_wrong_body_is_refused_with_the_field_at_fault(
    control: Control, body: dict[str, object], field: str
) -> None:
    answer = await control.http.post(GENERATE, json=body, headers=KEY)

    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT")
    assert [each["field"] for each in error["details"][0]["fieldViolations"]] == [field]
    assert field in error["message"]


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'"\xff"'])
async def test_a_body_that_is_no_json_object_is_refused(control: Control, raw: bytes) -> None:
    answer = await control.http.post(GENERATE, content=raw, headers=KEY)

    assert answer.status_code == 400
    assert "Invalid JSON payload" in answer.json()["error"]["message"]


async def test_snake_and_camel_case_mean_the_same(control: Control) -> None:
    parts = [{"text": "what is this"}]
    snake = {
        "contents": [
            {"parts": [*parts, {"inline_data": {"mime_type": "image/png", "data": "QQ=="}}]}
        ],
        "generation_config": {"max_output_tokens": 9, "thinking_config": {"thinking_budget": 3}},
    }
    camel = {
        "contents": [
            {"parts": [*parts, {"inlineData": {"mimeType": "image/png", "data": "QQ=="}}]}
        ],
        "generationConfig": {"maxOutputTokens": 9, "thinkingConfig": {"thinkingBudget": 3}},
    }

    answers = [await control.http.post(GENERATE, json=body, headers=KEY) for body in (snake, camel)]

    first, second = (answer.json() for answer in answers)
    assert first["candidates"] == second["candidates"]
    assert first["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert first["usageMetadata"]["promptTokensDetails"][1]["modality"] == "IMAGE"


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/v2/models", 404),
        ("POST", f"/v1/models/{FLASH}", 404),
        ("POST", f"/v1/models/{FLASH}:dance", 404),
        ("POST", f"/v1/models/{FLASH}:streamGenerateContent", 400),
        ("DELETE", "/v1/models", 405),
    ],
)
async def test_even_a_wrong_address_answers_in_googles_shape(
    control: Control, method: str, path: str, code: int
) -> None:
    answer = await control.http.request(method, path, json=HELLO, headers=KEY)

    assert answer.status_code == answer.json()["error"]["code"] == code


async def test_the_page_escapes_what_callers_sent(control: Control) -> None:
    evil = "<script>alert(1)</script>"
    await control.order("e503", match=evil)
    hello = {"contents": [{"parts": [{"text": f"{evil} & more"}]}]}
    await control.http.post(GENERATE, json=hello, headers=KEY)
    await control.order("slow", match=evil)

    page = await control.http.get("/")

    assert "not Google" in page.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in page.text
    assert page.text.count("&lt;script&gt;") == 2
    assert "<script" not in page.text


def test_sigterm_ends_open_streams_and_the_process_within_a_second() -> None:
    port = free_port()
    process = start(port, "--log-size", "2")
    url = f"http://127.0.0.1:{port}"
    try:
        with httpx2.Client(base_url=url, headers=KEY) as http:
            for _ in range(3):
                http.post("/v1/models/gemini-2.5-pro--e503:generateContent", json=HELLO)
            log = http.get("/_emulator/requests").json()
            assert (log["total"], [call["id"] for call in log["requests"]]) == (3, [2, 3])
            stalled = STREAM.replace(FLASH, f"{FLASH}--stall")
            with http.stream("POST", stalled, json=HELLO) as answer:
                lines = answer.iter_lines()
                assert next(lines).startswith("data: ")
                asked_at = time.monotonic()
                process.send_signal(signal.SIGTERM)
                with pytest.raises(httpx2.RemoteProtocolError):
                    list(lines)
                assert process.wait(5) == 0
                assert time.monotonic() - asked_at < 1
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.kill()
            process.wait(5)


def test_the_default_pace_is_that_of_a_model_typing() -> None:
    port = free_port()
    process = start(port)
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", headers=KEY) as http:
            asked_at = time.monotonic()
            with http.stream("POST", STREAM, json=HELLO) as answer:
                times = [time.monotonic() - asked_at for line in answer.iter_lines() if line]
    finally:
        process.terminate()
        process.wait(5)

    assert times[0] >= 0.12
    assert times[-1] >= 0.12 + 0.04 * (len(times) - 1)
