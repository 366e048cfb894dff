import pytest

from services.auth.devices import device_of

_WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
_LINUX = "Mozilla/5.0 (X11; Linux x86_64; rv:141.0)"
_WINDOWS = f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_WEBKIT}"
_IPHONE = f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) {_WEBKIT}"
_ANDROID = f"Mozilla/5.0 (Linux; Android 15; SM-S921B) {_WEBKIT}"


@pytest.mark.parametrize(
    ("user_agent", "device"),
    [
        (f"{_LINUX} Gecko/20100101 Firefox/141.0", "Firefox on Linux"),
        (f"{_WINDOWS} Chrome/138.0 Safari/537.36", "Chrome on Windows"),
        (f"{_WINDOWS} Chrome/138.0 Safari/537.36 Edg/138.0", "Edge on Windows"),
        (f"{_IPHONE} Version/18.5 Mobile/15E148 Safari/604.1", "Safari on iPhone"),
        (f"{_ANDROID} Chrome/138.0 Mobile Safari/537.36", "Chrome on Android"),
        ("okhttp/4.12.0", "okhttp"),
        ("Acme/3.1 (iPad; iOS 18.5)", "Acme on iPad"),
        ("curl/8.14.1", "curl"),
        ("", None),
        ("<script>alert(1)</script>", None),
        ("\x00" * 600 + "Firefox/1 Linux", None),
        ("a" * 5000, "a" * 40),
    ],
)
def test_a_user_agent_becomes_what_its_owner_calls_it(user_agent: str, device: str | None) -> None:
    assert device_of(user_agent) == device
