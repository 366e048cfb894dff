"""The keys that sign access tokens: rotated so that every verifier knows a key before it signs."""

from datetime import datetime, timedelta

from libs.common.clock import utc_now
from libs.common.db import Pool
from services.auth import rules
from services.auth.actions import audit
from services.auth.resources import Resources
from services.auth.store import signing_keys
from services.auth.tokens import make_sealed_key


async def rotate(db: Pool, secret: str, *, if_older_than: timedelta = timedelta(0)) -> datetime:
    """Make a key that signs after `rules.KEY_LEAD`, and return when the newest one does.

    One process at a time. While a key waits for its turn no other is made.

    Args:
        db: auth's database.
        secret: AUTH_SECRET.
        if_older_than: leave a newest key alone that has signed for less.
    """
    async with db.acquire() as conn, conn.transaction():
        await signing_keys.lock_signing_keys(conn)
        now = utc_now()
        newest = (await signing_keys.list_signing_keys(conn))[-1]
        if newest.signs_from > now - if_older_than:
            return newest.signs_from
        key = make_sealed_key(secret, signs_from=now + rules.KEY_LEAD)
        await signing_keys.insert_signing_key(conn, key, now)
        await audit.record(conn, "signing_key_made", subject=None, actor=None, kid=key.kid)
    return key.signs_from


async def maintain(res: Resources) -> None:
    """Rotate if it is time, forget keys whose tokens have expired, and load what there is.

    Every process does so once a minute; that is how it hears of keys that others made.
    """
    secret = res.settings.auth_secret.get_secret_value()
    await rotate(res.db, secret, if_older_than=timedelta(days=res.settings.signing_key_days))
    async with res.db.acquire() as conn:
        await signing_keys.delete_retired_keys(conn, before=utc_now() - rules.KEY_AFTERLIFE)
        res.keyring.load(await signing_keys.list_signing_keys(conn))
