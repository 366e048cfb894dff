from collections import Counter
from typing import get_args
from uuid import UUID

import pytest

from services.auth.codes import CodeMaker
from services.auth.derivation import Purpose, derive_key
from services.auth.models import Identifier

ID = UUID("019335c4-0000-7000-8000-000000000001")
NONCE = b"n" * 16
MAKER = CodeMaker("a secret of the tests")


def test_a_code_can_be_derived_again_and_has_six_digits() -> None:
    codes = {MAKER.code(ID, bytes([n]) * 16) for n in range(256)}

    assert {len(code) for code in codes} == {6}
    assert all(code.isdigit() for code in codes)
    assert any(code.startswith("0") for code in codes)
    assert len(codes) > 250
    assert MAKER.code(ID, NONCE) == CodeMaker("a secret of the tests").code(ID, NONCE)


def test_the_digits_of_codes_are_spread_evenly() -> None:
    """A1: chi-square over 40 codes below 33 (9 degrees of freedom), one repetition at most."""
    codes = [MAKER.code(ID, n.to_bytes(16)) for n in range(40)]

    digits = Counter("".join(codes))
    expected = 40 * 6 / 10
    chi2 = sum((digits[digit] - expected) ** 2 / expected for digit in "0123456789")
    assert chi2 < 33
    assert len(set(codes)) >= 39


@pytest.mark.parametrize(
    ("secret", "code_id", "nonce"),
    [
        ("another secret of tests", ID, NONCE),
        ("a secret of the tests", UUID(int=ID.int + 1), NONCE),
        ("a secret of the tests", ID, b"m" * 16),
    ],
)
def test_a_code_depends_on_secret_id_and_nonce(secret: str, code_id: UUID, nonce: bytes) -> None:
    assert CodeMaker(secret).code(code_id, nonce) != MAKER.code(ID, NONCE)


def test_only_the_right_code_matches() -> None:
    right = MAKER.code(ID, NONCE)
    wrong = f"{(int(right) + 1) % 1_000_000:06}"

    assert MAKER.matches(right, ID, NONCE)
    assert not MAKER.matches(wrong, ID, NONCE)


def test_identifier_hashes_tell_kinds_values_and_secrets_apart() -> None:
    hashes = {
        MAKER.identifier_hash(Identifier("email", "ada@example.org")),
        MAKER.identifier_hash(Identifier("phone", "ada@example.org")),
        MAKER.identifier_hash(Identifier("email", "bob@example.org")),
        CodeMaker("another secret of tests").identifier_hash(
            Identifier("email", "ada@example.org")
        ),
    }

    assert len(hashes) == 4


def test_no_two_purposes_share_a_key() -> None:
    keys = {derive_key("a secret of the tests", purpose) for purpose in get_args(Purpose)}

    assert len(keys) == len(get_args(Purpose))
