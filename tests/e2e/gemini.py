"""What the Gemini emulator saw, and what it is told to do."""

from typing import Any

import httpx2

from tests.e2e.stack import Stack


class Gemini:
    """The emulator of one stack."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    async def forget_calls(self) -> None:
        """Empty its log."""
        await self._ask("DELETE", "requests")

    async def count_calls(self) -> int:
        """Return how many calls came since `forget_calls`, whatever for."""
        total: int = (await self._ask("GET", "requests")).json()["total"]
        return total

    async def calls(self, prompt: str) -> list[dict[str, Any]]:
        """Return the calls whose last user turn is `prompt`, oldest first."""
        requests = (await self._ask("GET", "requests")).json()["requests"]
        return [call for call in requests if call["last_user_text"] == prompt]

    async def order(self, mode: str, prompt: str, **options: float) -> None:
        """Have the next call for `prompt` go wrong; see `deploy/local/gemini/faults.py`."""
        await self._ask("POST", "faults", {"mode": mode, "match": prompt, **options})

    async def _ask(self, method: str, path: str, body: Any = None) -> httpx2.Response:
        url = f"{self._stack.url('gemini')}/_emulator/{path}"
        async with httpx2.AsyncClient(verify=False) as http:
            answer = await http.request(method, url, json=body)
        assert answer.status_code < 300, answer.text
        return answer
