"""The Postman collection, run by newman against the whole system."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.tree import POSTMAN
from tests.e2e.stack import Stack
from tests.npm_packages import install_into, needs_npm

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    needs_npm,
]


@pytest.fixture(scope="session")
def newman(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Newman as it was locked."""
    return install_into(tmp_path_factory.mktemp("npm")) / ".bin/newman"


def test_all_requests_and_assertions_of_the_collection_are_green(
    stack: Stack, newman: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = tmp_path / "run.json"
    report = ["--reporters", "json", "--reporter-json-export", str(told)]
    base = ["--env-var", f"baseUrl={stack.url('gateway')}", "--timeout-request", "60000"]

    subprocess.run(
        [str(newman), "run", str(POSTMAN), *base, *report],
        check=False,  # what failed is in the report
        timeout=200,
    )

    run: dict[str, Any] = json.loads(told.read_text())["run"]
    failures = [
        (each.get("source", {}).get("name"), each["error"].get("test"), each["error"]["message"])
        for each in run["failures"]
    ]
    assert failures == []
    stats = run["stats"]
    folders = json.loads(POSTMAN.read_text(encoding="utf-8"))["item"]
    assert stats["items"]["total"] == sum(len(folder["item"]) for folder in folders)
    assert stats["assertions"]["total"] >= stats["items"]["total"]
    with capsys.disabled():
        print(  # noqa: T201
            f"\nnewman: {stats['requests']['total']} requests, "
            f"{stats['assertions']['total']} assertions, none failed"
        )
