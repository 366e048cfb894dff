from datetime import UTC, datetime, timedelta

import pytest

from services.auth.templates import TEMPLATES, negotiate, render

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-CH, en;q=0.9", "de"),
        ("en;q=0.5, FR;q=0.8", "fr"),
        ("pt-BR, es;q=0.3", "es"),
        ("fr;q=0, es;q=0.1", "es"),
        ("ja, *;q=0.5", "en"),
        ("fr;q=high, de;q=", "en"),
        ("fr;q=nan", "en"),
        (";;,,=;q", "en"),
    ],
)
def test_the_language_is_the_one_of_ours_that_is_preferred(header: str, language: str) -> None:
    assert negotiate(header) == language


@pytest.mark.parametrize("language", sorted(TEMPLATES))
def test_a_message_holds_the_code_and_how_long_it_works(language: str) -> None:
    words = render(language, "012345", expires_at=NOW + timedelta(seconds=241), now=NOW)

    assert "012345" in words.subject
    assert "012345" in words.text
    assert " 5 min" in words.text.lower()
    assert "{" not in words.text + words.subject


def test_every_language_has_words_of_its_own() -> None:
    assert set(TEMPLATES) == {"en", "de", "es", "fr"}
    assert len({template.text for template in TEMPLATES.values()}) == 4
