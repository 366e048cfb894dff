"""W2: what production refuses to start with, seen on the process itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts.tree import ROOT, SETTINGS, STRONG

CASES = [
    ("auth", "AUTH_SECRET", None),
    ("auth", "AUTH_SECRET", ""),
    ("auth", "AUTH_SECRET", "change-me-change-me"),
    ("billing", "STRIPE_WEBHOOK_SECRET", ""),
    ("billing", "STRIPE_SECRET_KEY", "sk_test_emulator"),
    ("ai", "GEMINI_API_KEY", ""),
    ("chat", "DATABASE_URL", "postgresql://chat:thoughtflow@127.0.0.1:5432/thoughtflow"),
    ("gateway", "RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672/"),
]


@pytest.mark.parametrize(("service", "name", "value"), CASES)
def test_production_does_not_start_without_a_secret_or_with_a_known_one(
    tmp_path: Path, service: str, name: str, value: str | None
) -> None:
    """W2: missing, empty, a placeholder or a default: one line names it, and not its value."""
    environment = {key.upper(): text for key, text in SETTINGS[service].items()}
    environment |= {"OTP_SENDER": "smtp", "SMTP_URL": f"smtps://mail:{STRONG}@127.0.0.1"}
    environment |= {"SMTP_FROM": "codes@example.com", "PATH": os.environ["PATH"]}
    environment |= {"PYTHONPATH": str(ROOT), "ENVIRONMENT": "production"}
    environment.pop(name)
    if value is not None:
        environment[name] = value

    ended = subprocess.run(
        [sys.executable, "-m", f"services.{service}"],
        cwd=tmp_path,  # where no `.env` lies
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert ended.returncode == 2, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert name in line
    assert not value or value not in line
