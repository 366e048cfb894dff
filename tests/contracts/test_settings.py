"""A process with a setting that is missing, malformed or unsafe does not start."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError

from libs.common.settings import MIN_SECRET_LENGTH, BaseServiceSettings
from tests.contracts.tree import ROOT, SCHEMAS, SERVICES, SETTINGS, STRONG, build

SHORT = "x" * (MIN_SECRET_LENGTH - 1)
MISSING = {
    "ai": "gemini_api_key",
    "auth": "auth_secret",
    "billing": "stripe_secret_key",
    "chat": "database_url",
    "gateway": "auth_url",
}
MALFORMED = {
    "ai": ("total_timeout_s", "soon"),
    "auth": ("otp_sender", "pigeon"),
    "billing": ("public_url", "example.com"),
    "chat": ("rabbitmq_url", "http://127.0.0.1"),
    "gateway": ("user_requests_per_minute", "-1"),
}
SECRETS = [
    ("ai", "gemini_api_key"),
    ("auth", "auth_secret"),
    ("billing", "stripe_secret_key"),
    ("billing", "stripe_webhook_secret"),
]
SERVER_URLS = [("database_url", "postgresql://role:{}@db/x"), ("rabbitmq_url", "amqp://r:{}@mq/")]


def make(service: str, *, environment: str = "production", **changed: str) -> BaseServiceSettings:
    return build(service, **{**SETTINGS[service], **changed, "environment": environment})


def start(service: str, values: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the service where no `.env` lies, in development, with `values` alone."""
    environment = {name.upper(): value for name, value in values.items()} | {
        "ENVIRONMENT": "development",
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run(
        [sys.executable, "-m", f"services.{service}"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture(scope="module")
def failures(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[tuple[str, str], subprocess.CompletedProcess[str]]:
    """What became of each service without a variable, and with a malformed one."""
    folder = tmp_path_factory.mktemp("empty")
    starts = {}
    for service in SERVICES:
        kept = {name: text for name, text in SETTINGS[service].items() if name != MISSING[service]}
        starts[service, MISSING[service]] = kept
        name, malformed = MALFORMED[service]
        starts[service, name] = SETTINGS[service] | {name: malformed}
    with ThreadPoolExecutor(max_workers=2) as threads:  # imports keep a core busy for 2 s
        ended = threads.map(lambda item: start(item[0][0], item[1], folder), starts.items())
        return dict(zip(starts, ended, strict=True))


@pytest.mark.parametrize(
    ("service", "name"),
    [*MISSING.items(), *((service, name) for service, (name, _) in MALFORMED.items())],
)
def test_a_missing_or_malformed_variable_ends_the_process_with_one_line_that_names_it(
    failures: dict[tuple[str, str], subprocess.CompletedProcess[str]], service: str, name: str
) -> None:
    ended = failures[service, name]
    assert ended.returncode == 2, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"setting {name.upper()}: ")
    assert ended.stdout == ""


@pytest.mark.parametrize("service", SERVICES)
def test_the_values_of_this_file_are_fine_otherwise(service: str) -> None:
    make(service, environment="development")


def test_production_refuses_to_show_one_time_codes() -> None:
    with pytest.raises(ValidationError, match="OTP_SENDER=mock"):
        make("auth")


@pytest.mark.parametrize(("service", "name"), SECRETS)
@pytest.mark.parametrize("secret", ["change-me", SHORT])
def test_production_refuses_a_known_or_short_secret(service: str, name: str, secret: str) -> None:
    with pytest.raises(ValidationError, match=f"(?i){name}"):
        make(service, **{name: secret})


@pytest.mark.parametrize("service", SCHEMAS)
@pytest.mark.parametrize(("name", "url"), SERVER_URLS)
@pytest.mark.parametrize("password", ["change-me", "", SHORT])
def test_production_refuses_a_known_or_short_password_of_a_server(
    service: str, name: str, url: str, password: str
) -> None:
    with pytest.raises(ValidationError, match=name.upper()):
        make(service, **{name: url.format(password)})


@pytest.mark.parametrize("service", [name for name in SERVICES if name != "auth"])
def test_production_accepts_secrets_of_16_characters(service: str) -> None:
    assert make(service).environment == "production"


@pytest.mark.parametrize("service", SERVICES)
def test_no_secret_shows_where_settings_are_printed(service: str) -> None:
    settings = make(service, environment="development")
    for name in (name for of, name in SECRETS if of == service):
        assert f"{name}='{STRONG}'" not in repr(settings)
