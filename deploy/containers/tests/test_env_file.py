"""`make up` makes what docker-compose.yml wants, once."""

import re
import stat
from pathlib import Path

from deploy.containers.env_file import complete
from deploy.local.config import ROOT
from deploy.local.passwords import Passwords

REQUIRED = set(
    re.findall(r"\$\{([A-Z_]+):\?", (ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
)


def read(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if "=" in line]
    return dict(line.split("=", 1) for line in lines)


def test_a_new_file_has_every_secret_that_compose_requires_for_its_owners_eyes(
    tmp_path: Path,
) -> None:
    path = tmp_path / ".env"

    complete(path, Passwords(tmp_path))

    values = read(path)
    assert values.keys() - REQUIRED == {"COMPOSE_PROFILES", "STRIPE_WEBHOOK_SECRET"}
    assert values.keys() > REQUIRED
    secrets = [value for name, value in values.items() if name != "COMPOSE_PROFILES"]
    assert len(set(secrets)) == len(secrets)
    # As they stand in URLs, a SQL literal and a configuration file.
    assert all(re.fullmatch(r"[\w-]{32,}", secret) for secret in secrets)
    assert values["COMPOSE_PROFILES"] == "emulators"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_the_user_wrote_is_kept(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    written = "# mine\nGEMINI_API_KEY=key\nCOMPOSE_PROFILES=\nexport AUTH_SECRET=of-mine\n"
    path.write_text(written, encoding="utf-8")

    added = complete(path, Passwords(tmp_path))

    text = path.read_text(encoding="utf-8")
    assert text.startswith(written)
    assert not {"COMPOSE_PROFILES", "AUTH_SECRET", "GEMINI_API_KEY"} & set(added)
    assert text.count("COMPOSE_PROFILES") == text.count("AUTH_SECRET") == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_second_time_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    complete(path, Passwords(tmp_path))
    before = path.read_bytes()

    assert complete(path, Passwords(tmp_path)) == []
    assert path.read_bytes() == before


def test_auth_gets_the_secret_that_make_run_gives_it(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    complete(path, Passwords(tmp_path))
    assert read(path)["AUTH_SECRET"] == Passwords(tmp_path)["auth_secret"]
