"""The secrets of one home: made once, at random, for its owner's eyes only."""

import json
import secrets
from pathlib import Path

from deploy.local.server import write_private


class Passwords:
    """Secrets by name, kept in `secrets.json`; one that is asked for first is made then."""

    def __init__(self, home: Path) -> None:
        self._file = home / "secrets.json"
        self._values: dict[str, str] = {}
        if self._file.exists():
            self._values = json.loads(self._file.read_text(encoding="utf-8"))

    def __getitem__(self, name: str) -> str:
        if name not in self._values:
            self._values[name] = secrets.token_urlsafe(24)
            partial = self._file.with_suffix(".new")
            write_private(partial, json.dumps(self._values, indent=2) + "\n")
            partial.rename(self._file)
        return self._values[name]
