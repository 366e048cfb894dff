"""Calendar arithmetic of billing periods, in UTC."""

import calendar
from datetime import UTC, datetime, timedelta

_DAYS = {"day": 1, "week": 7}
_MONTHS = {"month": 1, "year": 12}


def period_end(start: int, *, interval: str, count: int, anchor: int) -> int:
    """Return the Unix time at which the period that begins at `start` ends.

    Args:
        start: Unix time.
        interval: day, week, month or year.
        count: intervals per period.
        anchor: Unix time whose day of the month the periods keep, so that one that begins on
            the 31st ends on the 28th in February and on the 31st again in March.
    """
    begin = datetime.fromtimestamp(start, UTC)
    if interval in _DAYS:
        return int((begin + timedelta(days=_DAYS[interval] * count)).timestamp())
    months = begin.month - 1 + _MONTHS[interval] * count
    year, month = begin.year + months // 12, months % 12 + 1
    wanted = datetime.fromtimestamp(anchor, UTC).day
    day = min(wanted, calendar.monthrange(year, month)[1])
    return int(begin.replace(year=year, month=month, day=day).timestamp())
