from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from libs.common.clock import new_id
from services.chat import quotas
from services.chat.models import Posted, QuotaState

NOW = datetime(2026, 11, 23, 22, 0, tzinfo=UTC)
TO_MIDNIGHT_S, TO_DECEMBER_S = 7200, 7 * 86_400 + 7200


def refused(
    limits: Sequence[int | None], used: Sequence[int], *, tokens: int = 0, plan: str | None = None
) -> Posted:
    one = new_id()
    return Posted("limit", one, one, None, NOW, one, plan, tokens, limits, used, "", None)


def test_headers_tell_what_is_limited_and_nothing_else() -> None:
    state = QuotaState("pro", [20, None, 9000, 50_000, 2], [12, 99, 9001, 10_000, 1])

    headers = quotas.rate_headers(state, NOW)

    assert headers["RateLimit-Policy"] == (
        '"messages";q=20;w=86400;qu="messages", "tokens";q=9000;w=86400;qu="tokens", '
        '"tokens-month";q=50000;w=2592000;qu="tokens", "concurrent";q=2;qu="concurrent-requests"'
    )
    assert headers["RateLimit"] == (
        f'"messages";r=8;t={TO_MIDNIGHT_S}, "tokens";r=0;t={TO_MIDNIGHT_S}, '
        f'"tokens-month";r=40000;t={TO_DECEMBER_S}, "concurrent";r=1'
    )


def test_who_has_no_limit_gets_no_header() -> None:
    assert quotas.rate_headers(QuotaState("pro", [None] * 5, [1] * 5), NOW) == {}


@pytest.mark.parametrize(
    ("limits", "used", "tokens", "code", "violated", "retry_after"),
    [
        ([5, 9, 9, 9, 9], [5, 5, 0, 0, 0], 1, "daily_limit_reached", ["messages"], TO_MIDNIGHT_S),
        (
            *([5, 9, None, None, None], [5, 9, 0, 0, 0], 0, "monthly_limit_reached"),
            *(["messages", "messages-month"], TO_DECEMBER_S),
        ),
        (
            *([None, None, 100, None, 1], [7, 7, 90, 90, 1], 11, "token_limit_reached"),
            *(["tokens", "concurrent"], TO_MIDNIGHT_S),
        ),
        (
            *([None, None, None, 100, None], [7, 7, 90, 90, 1], 11, "token_limit_reached"),
            *(["tokens-month"], TO_DECEMBER_S),
        ),
        ([6, None, None, None, 2], [5, 5, 0, 0, 2], 0, "too_many_replies", ["concurrent"], 2),
    ],
)
def test_the_refusal_names_the_policies_and_the_longest_wait(
    limits: list[int | None],
    used: list[int],
    tokens: int,
    code: str,
    violated: list[str],
    retry_after: int,
) -> None:
    error = quotas.limit_error(refused(limits, used, tokens=tokens), NOW, guest=False)

    problem = error.problem()
    assert problem["code"] == code
    assert problem["type"].endswith("#quota-exceeded")
    assert problem["violated-policies"] == violated
    assert error.headers["Retry-After"] == str(problem["retry_after"]) == str(retry_after)
    assert f'"{problem["policy"]}";r=' in error.headers["RateLimit"]


@pytest.mark.parametrize(
    ("plan", "guest", "where"),
    [
        (None, True, "/auth/upgrade"),
        (None, False, "/subscribe/pro"),
        ("basic", False, "/subscribe/pro"),
        ("pro", False, None),
    ],
)
def test_who_can_get_more_is_told_where(plan: str | None, guest: bool, where: str | None) -> None:
    posted = refused([5, None, None, None, None], [5, 5, 0, 0, 0], plan=plan)

    error = quotas.limit_error(posted, NOW, guest=guest)

    problem: dict[str, Any] = error.problem()
    assert problem.get("upgrade_url") == where
    assert (f"POST {where}" in problem["detail"]) == (where is not None)


@pytest.mark.parametrize(
    ("now", "day", "month", "month_s"),
    [
        (datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), (2027, 1, 1), (2027, 1, 1), 31),
        (datetime(2028, 2, 29, tzinfo=UTC), (2028, 3, 1), (2028, 3, 1), 29),
        (datetime(2026, 2, 1, tzinfo=UTC), (2026, 2, 2), (2026, 3, 1), 28),
    ],
)
def test_days_and_months_begin_at_midnight_utc(
    now: datetime, day: tuple[int, int, int], month: tuple[int, int, int], month_s: int
) -> None:
    today, this_month, *_ = quotas.allowances([1] * 5, [0] * 5, now)

    assert today.resets_at == datetime(*day, tzinfo=UTC)
    assert this_month.resets_at == datetime(*month, tzinfo=UTC)
    assert (today.window_s, this_month.window_s) == (86_400, month_s * 86_400)
