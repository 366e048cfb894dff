"""A pytest plugin: no code, token, phone number or e-mail address that a test used is ever logged.

It learns the secrets from what tests send and are answered over HTTP, and from `note` where they
travel otherwise; it reads every log line of this process at DEBUG, libraries' too, and what
`heard` is given of others. A run with a leak fails, and tells the logger, the kind and the test.
"""

import logging
import re
from collections.abc import Iterator, MutableMapping
from typing import Any
from urllib.parse import unquote

import httpx2
import orjson
import pytest
import structlog
from typing_extensions import override

from libs.common.telemetry import quieten_libraries

EMAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")
PHONE = re.compile(r"\+\d[\d ()-]{6,}")
UUID = re.compile(r"[0-9a-f-]{36}")
"""What stands for a token where a test has no real ones: a user's id, which logs may hold."""

FIELDS = {
    **dict.fromkeys(("otp", "present_otp"), "code"),
    **dict.fromkeys(("access_token", "refresh_token", "ticket", "key"), "token"),
    **dict.fromkeys(("challenge", "secret", "recovery_code"), "token"),
    "email": "e-mail address",
    "phone": "phone number",
}
FOREIGN = ("mail.log",)
"""Loggers that are no part of the product: aiosmtpd's, which plays somebody's mail server."""

_WORD = re.compile(r"[\w.+@~-]{6,}")
_CODE = re.compile(r"(?<![\w.:-])\d{6}(?![\w.])")
_MAX_JSON = 1 << 16


class Leaks(logging.Handler):
    """What tests used, and where it came to light.

    Attributes:
        found: (logger, kind, test) of each leak.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.found: set[tuple[str, str, str]] = set()
        self._secrets: dict[str, str] = {}
        self._codes: set[str] = set()
        self._stack_codes: set[str] = set()
        self._lines: list[tuple[str, str]] = []

    def note(self, kind: str, value: str) -> None:
        """Take `value` for a secret from here on; what has not the form of one is none."""
        if kind == "code" and re.fullmatch(r"\d{6}", value):
            self._codes.add(value)
            self._stack_codes.add(value)
        elif kind == "token" and len(value) >= 20 and not UUID.fullmatch(value):
            self._secrets[value] = kind
        elif kind == "e-mail address" and EMAIL.fullmatch(value):
            self._secrets |= {value: kind, value.lower(): kind}
        elif kind == "phone number" and PHONE.fullmatch(value):
            self._secrets["+" + re.sub(r"\D", "", value)] = kind

    @override
    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info:
            text += logging.Formatter().formatException(record.exc_info)
        self._lines.append((record.name, text))

    def keep(self, _: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Read a line of ours, as a processor of structlog's."""
        self._lines.append(("structlog", str(dict(event))))
        return event

    def heard(self, logger: str, text: str, test: str = "") -> None:
        """Look through the whole output of another process, whose codes any test may have used."""
        kinds = set(self._kinds(text, self._stack_codes))
        self.found |= {(logger, kind, test) for kind in kinds}

    def finish(self, test: str) -> None:
        """Look through what was logged since the last time.

        Codes have a million values and other numbers, too: only those of one test are looked for.
        """
        for logger, text in self._lines:
            if not logger.startswith(FOREIGN):
                kinds = self._kinds(text, self._codes)
                self.found |= {(logger, kind, test) for kind in kinds}
        self._lines.clear()
        self._codes.clear()

    def _kinds(self, text: str, codes: set[str]) -> Iterator[str]:
        if "%" in text:
            text += " " + unquote(text)
        for word in _WORD.findall(text):
            if (kind := self._secrets.get(word.rstrip(".-"))) is not None:
                yield kind
        if codes.intersection(_CODE.findall(text)):
            yield "code"


LEAKS = Leaks()
note, heard = LEAKS.note, LEAKS.heard
_send = httpx2.AsyncClient.send


async def _send_noting(
    self: httpx2.AsyncClient, request: httpx2.Request, **options: Any
) -> httpx2.Response:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme == "Bearer":
        note("token", token)
    if hasattr(request, "_content"):
        _note_json(request.content)
    response = await _send(self, request, **options)
    if response.is_closed and hasattr(response, "_content"):
        _note_json(response.content)
    return response


def _note_json(content: bytes) -> None:
    if content[:1] == b"{" and len(content) < _MAX_JSON:
        try:
            _note_fields(orjson.loads(content))
        except orjson.JSONDecodeError:
            return


def _note_fields(node: Any) -> None:
    for name, value in node.items():
        if isinstance(value, dict):
            _note_fields(value)
        elif name in FIELDS and isinstance(value, str):
            note(FIELDS[name], value)


def pytest_configure() -> None:
    """Listen to everything from here on."""
    httpx2.AsyncClient.send = _send_noting  # type: ignore[method-assign]
    *others, renderer = structlog.get_config()["processors"]
    structlog.configure(processors=[*others, LEAKS.keep, renderer])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Listen again where a test has set up logging as a service does."""
    root = logging.getLogger()
    if LEAKS not in root.handlers:
        root.addHandler(LEAKS)
    root.setLevel(logging.DEBUG)
    quieten_libraries()


def pytest_runtest_logfinish(nodeid: str) -> None:
    """Look at each test's lines while its codes are known."""
    LEAKS.finish(nodeid)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if anything came to light."""
    LEAKS.finish("the end of the session")
    if LEAKS.found:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell where, and of which kind, but not what."""
    for logger, kind, test in sorted(LEAKS.found):
        terminalreporter.write_line(f"LEAK: {logger} logged a {kind} in {test}", red=True)
