"""The plugin that reads the logs of a run finds what must not be there."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts.tree import ROOT
from tests.leaks import Leaks

TOKEN = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl-_x"
LEAKING = """
import logging
import httpx2
import pytest
import structlog

async def answer(request):
    return httpx2.Response(200, json={{"{field}": "{value}"}})

async def test_a():
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as http:
        await http.post("http://x/", json={{"a": 1}})
    {log}
"""


@pytest.fixture
def leaks() -> Leaks:
    leaks = Leaks()
    leaks.note("code", "123456")
    leaks.note("token", TOKEN)
    leaks.note("e-mail address", "Ada@example.org")
    leaks.note("phone number", "+1 415-555-2671")
    return leaks


@pytest.mark.parametrize(
    ("line", "kinds"),
    [
        ('{"otp":"123456"}', {"code"}),
        ("otp=123456 ", {"code"}),
        (f"Authorization: Bearer {TOKEN}.", {"token"}),
        ("550 no such user <ada@example.org>", {"e-mail address"}),
        ("DETAIL:  Key (email)=(ada@example.org) already exists.", {"e-mail address"}),
        ("To=%2B14155552671&Body=x", {"phone number"}),
        ("+14155552671 and 123456", {"phone number", "code"}),
        ("at 12:00:00.123456Z", set()),
        ("id 01900000-1234-7123-8123-123456123456 and 1234567", set()),
        ("bob@example.org +14155552672 654321", set()),
    ],
)
def test_a_secret_is_found_in_a_line_however_it_is_written(
    leaks: Leaks, line: str, kinds: set[str]
) -> None:
    leaks.heard("auth", line)

    assert {kind for _, kind, _ in leaks.found} == kinds


@pytest.mark.parametrize(
    ("field", "value", "log"),
    [
        ("otp", "918273", "logging.getLogger('lib').debug('got %s', 918273)"),
        ("email", "ada@example.org", "structlog.get_logger().debug('x', to='ada@example.org')"),
        ("access_token", TOKEN, f"logging.getLogger('lib').info('{TOKEN}')"),
    ],
)
def test_a_run_that_logs_a_secret_fails_and_does_not_repeat_it(
    tmp_path: Path, field: str, value: str, log: str
) -> None:
    """P1: the test itself passes; what fails is the run."""
    test = tmp_path / "test_leaking.py"
    run = [sys.executable, "-m", "pytest", "-p", "tests.leaks", "-c", str(tmp_path / "pytest.ini")]
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")

    outcomes = []
    for does in (log, "pass"):
        test.write_text(LEAKING.format(field=field, value=value, log=does))
        outcomes.append(
            subprocess.run([*run, str(test)], cwd=ROOT, capture_output=True, text=True, check=False)
        )

    leaking, clean = outcomes
    assert (leaking.returncode, clean.returncode) == (1, 0), leaking.stdout + clean.stdout
    assert "1 passed" in leaking.stdout
    assert "LEAK:" in leaking.stdout
    assert value not in leaking.stdout.partition("LEAK:")[2]
    assert "LEAK:" not in clean.stdout
