"""`python3 -m deploy.containers.env_file`: gives `.env` what docker-compose.yml wants.

Runs before anything is installed: the standard library only.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from deploy.local.passwords import Passwords
from deploy.local.server import write_private

ROOT = Path(__file__).resolve().parents[2]
# Named as `make run` names its own, so that both use the same: it reads `.env`, too, and auth
# starts with no other AUTH_SECRET than the one its keys were sealed under.
SECRETS = {
    "POSTGRES_PASSWORD": "postgres",
    "RABBITMQ_PASSWORD": "rabbitmq",
    "VALKEY_PASSWORD": "valkey",
    "AUTH_PASSWORD": "postgres_auth",
    "CHAT_PASSWORD": "postgres_chat",
    "AI_PASSWORD": "postgres_ai",
    "BILLING_PASSWORD": "postgres_billing",
    "GATEWAY_PASSWORD": "rabbitmq_gateway",
    "AUTH_SECRET": "auth_secret",
}
HEADER = "# Made by `make up`; .env.example tells what each is for."


def complete(path: Path, passwords: Passwords) -> list[str]:
    """Append what `path` lacks, and let only its owner read it; return the names that were added.

    What is there is not touched, an empty value included.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    present = set(re.findall(r"^\s*(?:export\s+)?(\w+)\s*=", text, re.MULTILINE))
    lines = {name: value for name, value in _values(passwords).items() if name not in present}
    if lines:
        added = "\n".join([HEADER, *(f"{name}={value}" for name, value in lines.items())])
        partial = path.with_name(f"{path.name}.new")
        write_private(partial, f"{text.rstrip()}\n\n{added}\n".lstrip())
        partial.rename(path)
    return list(lines)


def _values(passwords: Passwords) -> Mapping[str, str]:
    values = {name: passwords[secret] for name, secret in SECRETS.items()}
    values["STRIPE_WEBHOOK_SECRET"] = f"whsec_{passwords['stripe_webhook']}"
    return {"COMPOSE_PROFILES": "emulators"} | values


def main() -> None:
    """Complete the `.env` of this checkout."""
    home = Path(os.environ.get("THOUGHTFLOW_HOME") or ROOT / ".thoughtflow").expanduser()
    home.mkdir(parents=True, exist_ok=True)
    if added := complete(ROOT / ".env", Passwords(home)):
        print(f".env now has {', '.join(added)}: random, and yours to keep")


if __name__ == "__main__":
    main()
