"""What a login came from, in words that its user recognises."""

import re

_BROWSERS = (
    (re.compile(r"Edg(?:A|iOS)?/"), "Edge"),
    (re.compile(r"OPR/"), "Opera"),
    (re.compile(r"SamsungBrowser/"), "Samsung Internet"),
    (re.compile(r"Firefox/|FxiOS/"), "Firefox"),
    (re.compile(r"Chrome/|CriOS/"), "Chrome"),
    (re.compile(r"Version/.*Safari/"), "Safari"),
)
"""The first that matches counts: most browsers claim to be others, too."""

_SYSTEMS = (
    (re.compile(r"iPhone"), "iPhone"),
    (re.compile(r"iPad"), "iPad"),
    (re.compile(r"Android"), "Android"),
    (re.compile(r"Windows"), "Windows"),
    (re.compile(r"Mac OS X|Macintosh"), "macOS"),
    (re.compile(r"CrOS"), "ChromeOS"),
    (re.compile(r"Linux|X11"), "Linux"),
)
_PRODUCT = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,39}")
_READ = 512


def device_of(user_agent: str) -> str | None:
    """Return e.g. `Firefox on Linux` for a `User-Agent`; None if it says nothing.

    Versions and models are left out: with them it would tell people apart.
    """
    text = user_agent[:_READ]
    program = next((name for pattern, name in _BROWSERS if pattern.search(text)), None)
    if program is None and (product := _PRODUCT.match(text)) is not None:
        program = product[0]
    system = next((name for pattern, name in _SYSTEMS if pattern.search(text)), None)
    return " on ".join(part for part in (program, system) if part) or None
