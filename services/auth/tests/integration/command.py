"""Auth's commands, as an operator runs them."""

import subprocess
import sys

from conftest import ROOT
from services.auth.settings import Settings


def run(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m services.auth` with the arguments."""
    environment = {
        "ENVIRONMENT": "development",
        "DATABASE_URL": settings.database_url,
        "RABBITMQ_URL": settings.rabbitmq_url,
        "REDIS_URL": settings.redis_url,
        "JWKS_URL": settings.jwks_url,
        "AUTH_SECRET": settings.auth_secret.get_secret_value(),
        "OTP_SENDER": "mock",
    }
    return subprocess.run(
        [sys.executable, "-m", "services.auth", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
