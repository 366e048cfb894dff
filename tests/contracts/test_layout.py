"""The shape of a service is a contract: who knows one, knows all of them."""

from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.contracts.tree import ROOT, SCHEMAS, SERVICES

MAX_LINES = 300
EVERY_SERVICE = {
    "__init__",
    "__main__",
    "app",
    "errors",
    "metrics",
    "resources",
    "rules",
    "settings",
    "store",
}
WITH_SCHEMA = EVERY_SERVICE | {"actions", "consumers", "models"}
MODULES = {
    "ai": WITH_SCHEMA
    | {"api", "beats", "breaker", "catalogue", "checks", "chunks", "live", "model", "worker"},
    "auth": WITH_SCHEMA
    | {
        "access_errors",
        "access_models",
        "api",
        "codes",
        "derivation",
        "devices",
        "external",
        "factors",
        "identifiers",
    }
    | {"refresh_tokens", "senders", "tokens"}
    | {"courier", "otp_settings", "sealing", "smtp", "templates", "twilio"},
    "billing": WITH_SCHEMA
    | {"api", "applier", "checks", "grants", "locks", "pages", "payments", "timeline_models"},
    "chat": WITH_SCHEMA | {"api", "backlog", "quotas"},
    "gateway": EVERY_SERVICE
    | {
        "api",
        "checks",
        "cors",
        "hub",
        "limits",
        "live",
        "openapi",
        "pool",
        "proxy",
        "response",
        "routes",
    }
    | {"replay", "upstream", "streams", "lifetime", "wires", "asking"}
    | {"consumers", "events", "feed", "feed_live", "event_api", "posting", "archive_api"}
    | {"completions", "openai_api", "sockets", "socket_rules", "socket_user"}
    | {"presence", "revocations", "tickets", "credentials", "grants"}
    | {"operation_docs", "example_docs"},
}
MAY_BE_PACKAGES = {"actions", "api", "payments", "store"}
"""Roles that a service with several nouns splits by them."""

TOP_LEVEL = {
    *(
        ".ci",
        ".dockerignore",
        ".env.example",
        ".gitignore",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
    ),
    *("Makefile", "README.md", "conftest.py", "docker-compose.yml", "pyproject.toml"),
    "Thoughtflow.postman_collection.json",
    *("bench", "deploy", "docs", "libs", "requirements", "services", "tests"),
}
VAGUE = {"base", "common", "helper", "helpers", "manager", "misc", "types", "util", "utils"}


def ours(*folders: str) -> list[Path]:
    """Return every Python file below `folders`, and `conftest.py`."""
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return sorted([*found, ROOT / "conftest.py"])


def test_the_top_level_holds_what_it_should_and_nothing_else() -> None:
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()}
    present = {
        path.name
        for path in ROOT.iterdir()
        if path.name != ".git" and not any(fnmatch(path.name, pattern) for pattern in ignored)
    }
    assert present == TOP_LEVEL


def test_there_are_five_services() -> None:
    assert {path.parent.name for path in ROOT.glob("services/*/__init__.py")} == set(SERVICES)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_its_roles_and_no_module_without_one(service: str) -> None:
    folder = ROOT / "services" / service
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    assert {path.stem for path in folder.glob("*.py")} | packages == MODULES[service]
    assert packages <= MAY_BE_PACKAGES


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_no_folders_but_roles_migrations_and_tests(service: str) -> None:
    folders = {path.name for path in (ROOT / "services" / service).iterdir() if path.is_dir()}
    expected = {"tests", "migrations"} if service in SCHEMAS else {"tests"}
    assert folders - {"__pycache__"} - MAY_BE_PACKAGES == expected


@pytest.mark.parametrize("service", SERVICES)
def test_the_tests_of_a_service_are_unit_or_integration_tests(service: str) -> None:
    tests = ROOT / "services" / service / "tests"
    assert {path.relative_to(tests).parts[0] for path in tests.rglob("*.py")} <= {
        "unit",
        "integration",
    }


def test_no_module_is_longer_than_it_may_be() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in ours("bench", "deploy", "libs", "services", "tests")
    }
    assert {path: lines for path, lines in lengths.items() if lines > MAX_LINES} == {}


def test_no_module_has_a_name_that_says_nothing() -> None:
    # `events.base` is the base of the events, and `libs.common` is a folder.
    named = [path for path in ours("deploy", "libs", "services") if path.stem in VAGUE]
    assert [str(path.relative_to(ROOT)) for path in named] == ["libs/common/events/base.py"]
