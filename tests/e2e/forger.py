"""Tokens as attackers make them: with everything that is public, and with what must never be."""

import base64
import hmac
import json
import time
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from libs.common.clock import new_id
from libs.common.identity import CLAIMS
from services.auth.tokens import Keyring

WORDS = (
    *("secret", "password", "changeme", "change-me", "jwt", "jwtsecret", "jwt_secret"),
    *("jwt-secret", "token", "key", "private", "supersecret", "super-secret", "topsecret"),
    *("top_secret", "secretkey", "secret_key", "secret-key", "mysecret", "my-secret"),
    *("my_secret_key", "mysecretkey", "your-256-bit-secret", "your-secret-key"),
    *("your_jwt_secret", "your-secret", "thisisasecret", "s3cr3t", "p4ssw0rd", "passw0rd"),
    *("password1", "password123", "Password", "Passw0rd!", "pass", "pwd", "hunter2", "letmein"),
    *("welcome", "monkey", "dragon", "iloveyou", "trustno1", "sunshine", "princess", "football"),
    *("master", "shadow", "superman", "batman", "abc123", "admin", "admin123", "administrator"),
    *("root", "toor", "guest", "user", "test", "test123", "testing", "tester", "demo"),
    *("example", "sample", "default", "dev", "development", "devsecret", "staging", "prod"),
    *("production", "local", "localhost", "server", "api", "apikey", "api_key", "api-key"),
    *("app", "application", "auth", "auth_secret", "auth-secret", "AUTH_SECRET", "session"),
    *("sessionsecret", "cookie", "signing", "signingkey", "hmac", "hs256", "HS256", "sha256"),
    *("symmetric", "shared", "sharedsecret", "thoughtflow", "thoughtflow-secret", "gateway"),
    *("0", "1", "123", "1234", "12345", "123456", "1234567890", "qwerty", "qwertyuiop", "none"),
    *("null", "undefined", "changeit", "keyboardcat"),
)
Claims = dict[str, Any]


@dataclass(frozen=True)
class Forger:
    """Who has seen one good token and the JWKS, and may borrow auth's own key.

    Attributes:
        good: a token that passes.
        jwk: its key as published.
        keyring: auth's, for tokens that only their claims make bad.
    """

    good: str
    jwk: dict[str, Any]
    keyring: Keyring

    @property
    def claims(self) -> Claims:
        decoded: Claims = jwt.decode(self.good, options={"verify_signature": False})
        return decoded

    @property
    def header(self) -> Claims:
        return jwt.get_unverified_header(self.good)

    def signed(self, claims: Claims, **header: Any) -> str:
        """Return a token with auth's signature."""
        key = self.keyring._keys[self.jwk["kid"]]
        return jwt.encode(claims, key, "EdDSA", {**self.header, **header})

    def unsigned(self) -> list[str]:
        """J1: every way to say that there is no signature."""
        payload, signature = self.good.split(".")[1:]
        names = ("none", "None", "NONE", "nOnE", " none", "none ", "none\x00", "", None, False)
        heads = [self.header | {"alg": alg} for alg in names]
        heads += [{"typ": "at+jwt", "kid": self.jwk["kid"]}, {"alg": "none"}]
        return [
            f"{_packed(head)}.{payload}.{end}" for head in heads for end in ("", signature, "AA")
        ]

    def confused(self) -> list[str]:
        """J2: the public key, in every form, as the secret of a symmetric signature."""
        raw = base64.urlsafe_b64decode(self.jwk["x"] + "==")
        public = Ed25519PublicKey.from_public_bytes(raw)
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        told = json.dumps(self.jwk).encode()
        forms = [raw, pem, pem.strip(), pem.replace(b"\n", b"\r\n"), der, self.jwk["x"].encode()]
        forms += [told, b'{"keys": [%b]}' % told, raw.hex().encode(), base64.b64encode(der)]
        return [
            self._symmetric(secret, algorithm)
            for secret in (*forms, b"", self.jwk["kid"].encode())
            for algorithm in ("HS256", "HS384", "HS512")
        ]

    def guessed(self) -> list[str]:
        """J5: secrets that people use."""
        return [self._symmetric(word.encode(), "HS256") for word in WORDS]

    def tampered(self) -> list[str]:
        """J3: one good token, changed or cut."""
        head, payload, signature = self.good.split(".")
        claims = self.claims
        changed = [
            {**claims, "sub": str(new_id())},
            {**claims, "role": "admin"},
            {**claims, "exp": claims["exp"] + 3600},
            {**claims, "sid": str(new_id())},
        ]
        return [
            *(f"{head}.{_packed(each)}.{signature}" for each in changed),
            *(f"{head}.{payload}.{other}" for other in ("", signature[:-4], signature[::-1])),
            *(self.good[:length] for length in (1, 10, len(head), len(self.good) // 2)),
            *(f"{head}.{payload}", f"{head}..{signature}", f".{payload}.{signature}", "..", "."),
            *(f"{self.good}.{signature}", f"{self.good}x", self.good.replace(".", "_")),
            self.good.swapcase(),
        ]

    def misdirected(self) -> list[str]:
        """J4: a key of the attacker's own, with every word on where it may be found."""
        mine = Ed25519PrivateKey.generate()
        jwk = jwt.algorithms.OKPAlgorithm.to_jwk(mine.public_key(), as_dict=True)
        url = "http://127.0.0.1:9/jwks.json"
        kids: list[Any] = ["", "unknown", "../../etc/passwd", "' OR 1=1 --", str(new_id()), 0, None]
        headers: list[Claims] = [
            *({"kid": kid} for kid in kids),
            *({"kid": "mine", "jwk": {**jwk, "kid": "mine"}}, {"jwk": jwk}, {"jku": url}),
            *({"x5u": url}, {"x5c": ["AA"]}, {"kid": url, "jku": url}, {"crit": ["exp"]}, {}),
            {"jwk": self.jwk, "jku": url},
        ]
        return [_signed(self.header | header, self.claims, mine) for header in headers]

    def inapt(self) -> list[str]:
        """J7: signed by auth, and yet not for this time, this place or this use."""
        now, claims = int(time.time()), self.claims
        changes: list[Claims] = [
            *({"exp": now - 60}, {"exp": 0}, {"exp": "never"}, {"nbf": now + 600}),
            *({"iat": now + 600}, {"aud": "other"}, {"aud": []}, {"iss": "other"}, {"iss": ""}),
            *({"sub": "x"}, {"sub": ""}, {"sid": "x"}),
        ]
        missing = [{k: v for k, v in claims.items() if k != name} for name in CLAIMS]
        return [
            *(_signed(self.header, {**claims, **change}, self._key) for change in changes),
            *(_signed(self.header, each, self._key) for each in missing),
            *(_signed(self.header | {"typ": typ}, claims, self._key) for typ in ("JWT", "rt+jwt")),
        ]

    @property
    def _key(self) -> Ed25519PrivateKey:
        return self.keyring._keys[self.jwk["kid"]]

    def _symmetric(self, secret: bytes, algorithm: str) -> str:
        told = f"{_packed(self.header | {'alg': algorithm})}.{self.good.split('.')[1]}"
        digest = hmac.digest(secret, told.encode(), algorithm.replace("HS", "sha"))
        return f"{told}.{_b64(digest)}"


def _signed(header: Claims, claims: Claims, key: Ed25519PrivateKey) -> str:
    """Sign whatever it is: a library would refuse some of it."""
    told = f"{_packed(header)}.{_packed(claims)}"
    return f"{told}.{_b64(key.sign(told.encode()))}"


def _packed(part: Claims) -> str:
    return _b64(json.dumps(part).encode())


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
