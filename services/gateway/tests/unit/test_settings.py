import pytest

from services.gateway.settings import parse_addresses, parse_origins


def test_several_addresses_keep_their_order() -> None:
    assert parse_addresses("http://a:1, http://b") == (("a", 1), ("b", 80))


@pytest.mark.parametrize("urls", ["", "https://a", "a:1", "http://", "http://a/path", "http://a,"])
def test_an_address_that_cannot_be_used_is_refused(urls: str) -> None:
    with pytest.raises(ValueError, match="http://host:port"):
        parse_addresses(urls)


def test_origins_are_what_browsers_send() -> None:
    assert parse_origins(" https://app.example,http://localhost:5173, ") == (
        "https://app.example",
        "http://localhost:5173",
    )


@pytest.mark.parametrize(
    "text", ["*", "app.example", "https://a/", "https://a/b", "ftp://a", "https://", "https://u@a"]
)
def test_an_origin_that_no_browser_sends_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="https://host"):
        parse_origins(text)
