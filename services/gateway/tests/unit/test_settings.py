import pytest

from services.gateway.settings import parse_addresses


def test_several_addresses_keep_their_order() -> None:
    assert parse_addresses("http://a:1, http://b") == (("a", 1), ("b", 80))


@pytest.mark.parametrize("urls", ["", "https://a", "a:1", "http://", "http://a/path", "http://a,"])
def test_an_address_that_cannot_be_used_is_refused(urls: str) -> None:
    with pytest.raises(ValueError, match="http://host:port"):
        parse_addresses(urls)
