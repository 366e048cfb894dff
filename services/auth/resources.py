"""What auth holds open while it runs; built once, closed in reverse order."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx2

from libs.common.broker import Brokers, make_brokers
from libs.common.clock import utc_now
from libs.common.db import Pool, open_pool
from libs.common.outbox import Relay
from libs.common.settings import split_names
from services.auth.codes import CodeMaker
from services.auth.courier import Courier
from services.auth.derivation import derive_key
from services.auth.external import ExternalVerifier
from services.auth.factors import FactorMaker
from services.auth.refresh_tokens import RefreshTokens
from services.auth.senders import SEND_TIMEOUT_S, Sender
from services.auth.settings import Settings
from services.auth.smtp import SmtpSender
from services.auth.store import signing_keys
from services.auth.tokens import Keyring, make_sealed_key
from services.auth.twilio import TwilioSender


@dataclass(frozen=True, slots=True)
class Resources:
    """Everything an action may use; passed explicitly, never imported."""

    settings: Settings
    db: Pool
    brokers: Brokers
    relay: Relay
    keyring: Keyring
    codes: CodeMaker
    refresh_tokens: RefreshTokens
    api_key_hash_key: bytes
    subject_hash_key: bytes
    external: ExternalVerifier | None
    courier: Courier
    factors: FactorMaker


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open the pool, load the signing keys, make unstarted brokers; close them on exit.

    Raises:
        SigningKeyLockedError: the keys in the database belong to another AUTH_SECRET.
    """
    secret = settings.auth_secret.get_secret_value()
    async with AsyncExitStack() as stack:
        db = await open_pool(settings.database_url, schema="auth", max_size=settings.db_pool_size)
        stack.push_async_callback(db.close)
        brokers = make_brokers(settings.rabbitmq_url, service="auth", prefetch=settings.prefetch)
        yield Resources(
            settings=settings,
            db=db,
            brokers=brokers,
            relay=Relay(db, brokers.publish),
            keyring=await load_keyring(db, secret),
            codes=CodeMaker(secret),
            refresh_tokens=RefreshTokens(secret),
            api_key_hash_key=derive_key(secret, "api-key"),
            subject_hash_key=derive_key(secret, "external-subject"),
            external=_external(settings),
            courier=Courier(db, await _open_senders(stack, settings), secret=secret),
            factors=FactorMaker(secret),
        )


def _external(settings: Settings) -> ExternalVerifier | None:
    if not settings.external_issuer:
        return None
    return ExternalVerifier(
        settings.external_jwks_url,
        issuer=settings.external_issuer,
        audience=settings.external_audience,
    )


async def load_keyring(db: Pool, secret: str) -> Keyring:
    """Return the stored signing keys; the first process ever to ask makes the first key.

    Raises:
        SigningKeyLockedError: `secret` is not the one they were sealed with.
    """
    async with db.acquire() as conn, conn.transaction():
        await signing_keys.lock_signing_keys(conn)
        stored = await signing_keys.list_signing_keys(conn)
        if not stored:
            now = utc_now()
            stored = [make_sealed_key(secret, signs_from=now)]
            await signing_keys.insert_signing_key(conn, stored[0], now)
    return Keyring(stored, secret=secret)


async def _open_senders(stack: AsyncExitStack, settings: Settings) -> list[Sender]:
    """Return those that OTP_SENDER names, in the order to try; none for `mock`."""
    senders: list[Sender] = []
    if "smtp" in settings.senders and settings.smtp_url and settings.smtp_from:
        urls = split_names(settings.smtp_url.get_secret_value())
        senders += [SmtpSender(url, sender=settings.smtp_from) for url in urls]
    token = settings.twilio_auth_token
    if "twilio" in settings.senders and settings.twilio_account_sid and token:
        http = await stack.enter_async_context(httpx2.AsyncClient(timeout=SEND_TIMEOUT_S))
        senders += [
            TwilioSender(
                http,
                base=settings.twilio_api_base,
                account_sid=settings.twilio_account_sid,
                auth_token=token.get_secret_value(),
                sender=sender,
            )
            for sender in split_names(settings.twilio_from or "")
        ]
    return senders
