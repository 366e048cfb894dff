"""What sending a code takes: a way to its person, and something left of what sends may cost."""

from datetime import datetime, timedelta

import structlog

from libs.common.clock import new_id, utc_now
from libs.common.db import Connection
from services.auth import rules, templates
from services.auth.errors import (
    ChannelUnavailableError,
    NumberRangeLimitError,
    SendBudgetExhaustedError,
)
from services.auth.identifiers import country_of
from services.auth.models import Identifier, OtpMessage
from services.auth.resources import Resources
from services.auth.store import budgets

log = structlog.stdlib.get_logger()
_ALL = "all"
_NO_LIMIT = 2**31 - 1


def ensure_reachable(res: Resources, identifier: Identifier) -> None:
    """Refuse an identifier that no code can reach.

    Raises:
        ChannelUnavailableError: no sender serves its channel.
        CountryNotAllowedError: it is a number of a country that gets no codes.
    """
    if test_code(res, identifier) is not None:
        return
    if not res.settings.mocks_otp and not res.courier.serves(identifier.channel):
        raise ChannelUnavailableError(identifier.channel)
    if identifier.phone is not None:
        rules.ensure_country_allowed(country_of(identifier.phone), res.settings.countries)


def test_code(res: Resources, identifier: Identifier) -> str | None:
    """Return the fixed code of a test number, None for everybody else."""
    return res.settings.test_code(identifier.value, utc_now())


def pause(res: Resources) -> timedelta:
    """Return the time between two sends to one identifier; what the mock does costs nothing."""
    return timedelta(0) if res.settings.mocks_otp else rules.RESEND_PAUSE


async def charge(res: Resources, conn: Connection, identifier: Identifier, now: datetime) -> None:
    """Take a send of what the range of the number and the whole server have left.

    In the transaction that stores the message: what is refused was not sent and counts nowhere.
    Rows are locked in one order, code, range, all, so that no two sends wait for each other.

    Raises:
        NumberRangeLimitError: the number's range got its share, or too few codes came back.
        SendBudgetExhaustedError: the server has none left.
    """
    settings = res.settings
    since = now - rules.BUDGET_WINDOW
    if identifier.phone is not None:
        name = rules.range_of(identifier.phone)
        allowed = await budgets.use_budget(
            conn,
            name,
            amount=1,
            limit=settings.range_sends_per_hour or _NO_LIMIT,
            free=rules.RANGE_FREE_SENDS,
            per_verified=rules.RANGE_SENDS_PER_VERIFIED,
            now=now,
            since=since,
        )
        if not allowed:
            log.warning("number_range_closed")
            raise NumberRangeLimitError(retry_after_s=await _retry_after_s(conn, name, now))
    limit = settings.otp_budget_per_hour or _NO_LIMIT
    cost = settings.otp_sms_cost if identifier.channel == "sms" else settings.otp_email_cost
    if not await budgets.use_budget(
        conn, _ALL, amount=cost, limit=limit, free=limit, per_verified=0, now=now, since=since
    ):
        log.warning("send_budget_exhausted")
        raise SendBudgetExhaustedError(retry_after_s=await _retry_after_s(conn, _ALL, now))


async def _retry_after_s(conn: Connection, name: str, now: datetime) -> int:
    since = await budgets.budget_since(conn, name)
    return rules.seconds_until((since or now) + rules.BUDGET_WINDOW, now)


async def note_verified(conn: Connection, identifier: Identifier) -> None:
    """Count a code that came back in favour of the range of its number."""
    if identifier.phone is not None:
        await budgets.count_verified(conn, rules.range_of(identifier.phone))


def compose(
    identifier: Identifier, otp: str, language: str, *, expires_at: datetime, now: datetime
) -> OtpMessage:
    """Return the message that takes the code to its person."""
    words = templates.render(language, otp, expires_at=expires_at, now=now)
    return OtpMessage(new_id(), identifier, words.subject, words.text, expires_at)
