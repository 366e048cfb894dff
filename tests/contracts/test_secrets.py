"""No secret is in any version of any file."""

import re
import subprocess

import pytest

from tests.contracts.tree import ROOT

SECRET = re.compile(
    rb"""
      -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----\s*[A-Za-z0-9+/]
    | \b[rs]k_(live|test)_[A-Za-z0-9]{16,}                      # Stripe
    | \bwhsec_[A-Za-z0-9+/=]{24,}
    | \bAIza[0-9A-Za-z_-]{35}                                   # Google
    | \b(AC|SK)(?!0{8})[0-9a-f]{32}\b                           # Twilio
    | \bA(KIA|SIA)[0-9A-Z]{16}\b                                # AWS
    | \bgh[opsu]_[A-Za-z0-9]{30,} | \bgithub_pat_\w{30,} | \bglpat-[\w-]{20,}
    | \bxox[abprs]-[A-Za-z0-9-]{10,}                            # Slack
    | \beyJ[\w-]{16,}\.eyJ[\w-]{16,}\.[\w-]{16,}                # a JWT with its signature
    | ^\+\s*(export\s)?\#?[A-Z_]*(SECRET|PASSWORD|TOKEN|API_KEY)=[A-Za-z0-9+/_-]{16,}\s*$
    """,
    re.VERBOSE | re.MULTILINE,
)
# In two parts, as this file is in the history as well.
KNOWN_SHAPES = [
    ("-----BEGIN PRIVATE", " KEY-----\nMC4CAQ"),
    ("sk_li", "ve_51HnWyZKQ2eZvKYlo"),
    ("rk_te", "st_51HnWyZKQ2eZvKYlo"),
    ("whs", "ec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    ("AI", "zaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY"),
    ("A", "C0123456789abcdef0123456789abcdef"),
    ("AK", "IAIOSFODNN7EXAMPLE"),
    ("gh", "p_0123456789abcdefghijABCDEFGHIJ"),
    ("xo", "xb-123456789012-abcdefghij"),
    ("ey", "JhbGciOiJFZERTQSJ9.eyJzdWIiOiIxMjM0NTY3.c2lnbmF0dXJlX29mX2l0"),
    ("\n+AUTH_SECRET=", "4f6sJ2kQ9xZp7LrT"),
]


def test_no_version_of_any_file_holds_a_secret() -> None:
    """W2: every line that a commit ever added."""
    history = subprocess.run(
        ["git", "log", "--patch", "--unified=0", "--no-color", "--text", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    added = b"\n".join(line for line in history.splitlines() if line.startswith(b"+"))

    assert added.count(b"\n") > 1000
    assert [found[0][:12] for found in SECRET.finditer(added)] == []


@pytest.mark.parametrize(("start", "end"), KNOWN_SHAPES)
def test_a_secret_is_known_by_its_shape(start: str, end: str) -> None:
    """W2: keys of those who are talked to, private keys, tokens, and lines of a `.env`."""
    assert SECRET.search(f"+{start}{end}\n".encode())


@pytest.mark.parametrize(
    "line", ["+AUTH_SECRET=change-me", "+STRIPE_WEBHOOK_SECRET=", "+key = 'sk_test_emulator'"]
)
def test_a_placeholder_is_no_secret(line: str) -> None:
    assert not SECRET.search(line.encode())
