from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from cryptography.exceptions import InvalidTag

from services.auth.models import Delivery, Identifier, OtpMessage
from services.auth.sealing import Seal

MESSAGE = OtpMessage(
    id=UUID(int=1),
    to=Identifier("email", "ada@example.org"),
    subject="012345 is your code",
    text="Käse",
    expires_at=datetime(2026, 11, 23, 12, 0, tzinfo=UTC),
)
SEAL = Seal("a secret of the tests")
STORED = Delivery(id=MESSAGE.id, channel="email", sealed=SEAL.close(MESSAGE), attempts=1)


def test_a_sealed_message_shows_nothing_and_opens_again() -> None:
    for part in (b"ada", b"012345", b"example"):
        assert part not in STORED.sealed
    assert SEAL.open(STORED) == MESSAGE


@pytest.mark.parametrize(
    ("secret", "delivery"),
    [
        ("another secret of tests", STORED),
        ("a secret of the tests", replace(STORED, id=UUID(int=2))),
        (
            "a secret of the tests",
            replace(STORED, sealed=STORED.sealed[:-1] + bytes([STORED.sealed[-1] ^ 1])),
        ),
    ],
)
def test_another_secret_row_or_content_does_not_open(secret: str, delivery: Delivery) -> None:
    with pytest.raises(InvalidTag):
        Seal(secret).open(delivery)
