import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from google import genai
from google.genai import types

from tests.ports import free_port

FLASH = "gemini-3.8-flash"


@dataclass(frozen=True)
class Control:
    """The emulator's own endpoints, as a test uses them."""

    http: httpx2.AsyncClient

    async def order(self, mode: str, **options: Any) -> None:
        answer = await self.http.post("/_emulator/faults", json={"mode": mode, **options})
        assert answer.status_code == 201, answer.text

    async def calls(self) -> list[dict[str, Any]]:
        answer = await self.http.get("/_emulator/requests")
        calls: list[dict[str, Any]] = answer.json()["requests"]
        return calls

    async def last_call_when(self, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + 3
        while not ((calls := await self.calls()) and is_so(calls[-1])):
            assert time.monotonic() < deadline, f"never came true: {calls[-1:]}"
            await asyncio.sleep(0.01)
        return calls[-1]


def start(port: int, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "deploy.local.gemini", "--port", str(port), *options]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 20
    while True:
        assert process.poll() is None, "the emulator did not start"
        assert time.monotonic() < deadline, "the emulator never became ready"
        try:
            httpx2.get(f"http://127.0.0.1:{port}/_emulator/health", timeout=1)
        except httpx2.TransportError:
            time.sleep(0.02)
        else:
            return process


@pytest.fixture(scope="session")
def base_url() -> Iterator[str]:
    port = free_port()
    process = start(port, "--first-token-ms", "0", "--chunk-ms", "0")
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    assert process.wait(5) == 0


@pytest.fixture
async def control(base_url: str) -> AsyncIterator[Control]:
    async with httpx2.AsyncClient(base_url=base_url) as http:
        await http.delete("/_emulator/faults")
        await http.delete("/_emulator/requests")
        yield Control(http)


@contextlib.asynccontextmanager
async def sdk(
    base_url: str, *, version: str = "v1", key: str = "k", timeout_ms: int = 10_000
) -> AsyncIterator[genai.Client]:
    # The SDK does not close a client it was given.
    async with httpx2.AsyncClient() as http:
        options = types.HttpOptions(
            base_url=base_url,
            api_version=version,
            timeout=timeout_ms,
            httpx_async_client=http,
            retry_options=types.HttpRetryOptions(attempts=1),
        )
        yield genai.Client(api_key=key, http_options=options)


@pytest.fixture
async def client(base_url: str, control: Control) -> AsyncIterator[genai.Client]:
    async with sdk(base_url) as client:
        yield client


async def read_into(
    seen: list[types.GenerateContentResponse], client: genai.Client, model: str, text: str
) -> None:
    stream = await client.aio.models.generate_content_stream(model=model, contents=text)
    async with contextlib.aclosing(stream) as chunks:  # type: ignore[type-var]
        async for chunk in chunks:
            seen.append(chunk)  # noqa: PERF401 - what came before an error must not be lost


async def read(
    client: genai.Client, model: str, text: str = "What do otters eat?"
) -> list[types.GenerateContentResponse]:
    seen: list[types.GenerateContentResponse] = []
    await read_into(seen, client, model, text)
    return seen


def finish(chunk: types.GenerateContentResponse) -> types.FinishReason | None:
    assert chunk.candidates is not None
    return chunk.candidates[0].finish_reason
