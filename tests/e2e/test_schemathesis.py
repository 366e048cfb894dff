"""Made-up requests by the OpenAPI document, valid ones and others, against the whole system."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e.operations import operations
from tests.e2e.person import Person
from tests.e2e.stack import Stack

COMMAND = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.skipif(COMMAND is None, reason="schemathesis is not installed; `make install`"),
]
CHECKS = (
    *("not_a_server_error", "status_code_conformance"),
    *("content_type_conformance", "response_schema_conformance"),
)
"""The last one knows the codes, which the document lists by status."""

WITHIN_S = 120
EXAMPLES = 6
"""Of random requests by operation, after the systematic ones."""

ENDS_TOO_MUCH = "^(log_out|delete_me|delete_chatroom)_"
"""What is left out, or all that comes after would be a 401 or 404; newman asks for these."""


async def test_no_server_error_and_nothing_that_is_not_documented(
    stack: Stack, person: Person, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """I7: of any documented operation, whatever it is sent."""
    await operations(person.http)  # waits until the document is whole
    room = await person.room()
    posted = (await person.post(room, "Hello")).json()
    await person.ended(room)
    ids = {
        "path.chatroom_id": room,
        "path.message_id": posted["message"]["id"],
        "path.reply_id": posted["reply"]["id"],
    }
    headers = {"Authorization": person.http.headers["authorization"], "Accept": "application/json"}
    config = tmp_path / "schemathesis.toml"
    config.write_text(_table("headers", headers) + _table("parameters", ids))

    run = await asyncio.to_thread(_run, config, f"{stack.url('gateway')}/openapi.json")

    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr
    with capsys.disabled():
        told = re.findall(r"^ +(?:✅|Test cases).*$", run.stdout, re.MULTILINE)
        print("\nschemathesis:", *told, sep="\n")  # noqa: T201


def _run(config: Path, document: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(str(COMMAND), "--no-color", f"--config-file={config}", "run"),
            *(f"--checks={','.join(CHECKS)}", "--continue-on-failure"),
            *("--phases=examples,coverage,fuzzing", f"--max-examples={EXAMPLES}", "--seed=1"),
            *("--workers=2", "--request-timeout=30", "--suppress-health-check=all"),
            f"--exclude-operation-id-regex={ENDS_TOO_MUCH}",
            document,
        ],
        cwd=config.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
    )


def _table(name: str, values: Mapping[str, str]) -> str:
    """Return a table of TOML."""
    lines = [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join([f"[{name}]", *lines, "", ""])
