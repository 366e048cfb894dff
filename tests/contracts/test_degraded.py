"""The table of what users see while a part is down has every part, each with a test.

That the tests it names exist, `test_documents.py` sees for every document.
"""

import re

from deploy.local.config import SERVICES
from tests.contracts.test_documents import ONE_TEST
from tests.contracts.tree import ROOT

TABLE = ROOT / "docs/operations/degraded.md"
SERVERS = {"PostgreSQL", "RabbitMQ", "Valkey"}
OTHERS = {"Gemini", "Stripe", "SMTP", "Twilio"}


def rows() -> dict[str, str]:
    """Return the rows by what is down."""
    text = TABLE.read_text(encoding="utf-8")
    found = re.findall(r"^\| ([\w, ]+) \|(.+)\|$", text, re.MULTILINE)
    return {name: row for names, row in found[1:] for name in names.split(", ")}


def test_every_part_has_a_row() -> None:
    assert rows().keys() == SERVERS | OTHERS | set(SERVICES)


def test_every_row_names_a_test_that_takes_the_part_away() -> None:
    assert [part for part, row in rows().items() if not ONE_TEST.findall(row)] == []
