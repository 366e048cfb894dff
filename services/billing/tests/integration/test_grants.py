"""Grants: what admins give besides the plan, announced at once, in time, and to nobody else."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI
from typing_extensions import override

from libs.common.clock import new_id, utc_now
from libs.common.db import Connection
from libs.common.events import SubscriptionChanged, UserDeleted, UserRegistered
from libs.common.identity import Identity, TokenVerifier
from libs.common.testing import eventually
from services.billing.actions import deletion, exports, syncing, users
from services.billing.tests.integration.system import Billing, Emulator

pytestmark = [
    pytest.mark.integration,
    # Of httpx, to which Stripe's SDK hands bytes as `data`.
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]
ADMIN, HELPER = new_id(), new_id()
ROLES = {ADMIN: "admin", HELPER: "support"}


class TokensAreUserIds(TokenVerifier):
    """Signatures of tokens, and who gets which role, are tested in libs and auth."""

    @override
    async def verify(self, token: str) -> Identity:
        return Identity(UUID(token), new_id(), ROLES.get(UUID(token), "user"), 2**40)


@pytest.fixture(autouse=True)
async def known(app: FastAPI, billing: Billing, user_id: UUID) -> None:
    """Let tokens tell roles, and billing know the user."""
    app.state.verifier = TokensAreUserIds("http://unused")
    await users.record_user(billing.res, UserRegistered(user_id=user_id, email="a@example.org"))


async def ask(
    billing: Billing,
    user_id: UUID,
    method: str = "POST",
    path: str = "",
    *,
    as_: UUID = ADMIN,
    key: str | None = None,
    **body: Any,
) -> httpx2.Response:
    headers = {"authorization": f"Bearer {as_}"} | ({"idempotency-key": key} if key else {})
    given = {"reason": "a bug of ours", **body} if method == "POST" else None
    return await billing.http.request(
        method, f"/admin/user/{user_id}/grant{path}", headers=headers, json=given
    )


async def announced(billing: Billing, user_id: UUID, version: int) -> SubscriptionChanged:
    """Return what was announced under that version."""

    async def probe() -> list[SubscriptionChanged]:
        changes = await billing.changes(user_id)
        return [change for change in changes if change.version == version]

    (change,) = await eventually(probe)
    return change


async def test_a_grant_counts_at_once_and_until_it_is_taken_back(
    billing: Billing, user_id: UUID
) -> None:
    answer = await ask(
        billing, user_id, entitlements={"messages_per_day": 99, "concurrent_replies": 3}
    )

    assert answer.status_code == 201, answer.text
    first = await announced(billing, user_id, 1)
    assert (first.plan, first.entitlements.messages_per_day) == ("basic", 99)
    assert first.entitlements.concurrent_replies == 3
    status = await billing.status(user_id)
    assert status["entitlements"]["messages_per_day"] == 99
    assert status["grants"] == [
        {
            "plan": None,
            "entitlements": {"messages_per_day": 99, "concurrent_replies": 3},
            "expires_at": None,
        }
    ]

    for _ in range(2):
        ended = await ask(billing, user_id, "DELETE", f"/{answer.json()['id']}")
        assert ended.status_code == 204
    second = await announced(billing, user_id, 2)
    assert second.entitlements.messages_per_day == 20
    listed = (await ask(billing, user_id, "GET", as_=HELPER)).json()["data"]
    assert [(each["reason"], bool(each["ended_at"])) for each in listed] == [
        ("a bug of ours", True)
    ]


async def test_a_granted_plan_begins_and_ends_in_time_by_itself(
    billing: Billing, user_id: UUID
) -> None:
    now = utc_now()
    answer = await ask(
        billing,
        user_id,
        plan="pro",
        starts_at=(now + timedelta(seconds=1.5)).isoformat(),
        expires_at=(now + timedelta(seconds=4)).isoformat(),
    )
    assert answer.status_code == 201, answer.text
    assert (await announced(billing, user_id, 1)).plan == "basic"

    begun = await announced(billing, user_id, 2)
    begun_at = utc_now()
    over = await announced(billing, user_id, 3)
    over_at = utc_now()

    assert (begun.plan, begun.entitlements.messages_per_day) == ("pro", None)
    assert (over.plan, over.entitlements.messages_per_day) == ("basic", 20)
    assert timedelta(seconds=1.5) <= begun_at - now < timedelta(seconds=4)
    assert timedelta(seconds=4) <= over_at - now < timedelta(seconds=8)
    assert (await billing.status(user_id))["plan"] == "basic"


async def test_a_changed_setting_reaches_everybody_once_and_leaves_grants_alone(
    billing: Billing, user_id: UUID, conn: Connection
) -> None:
    await ask(billing, user_id, entitlements={"burst": 5})
    other = new_id()
    await users.record_user(billing.res, UserRegistered(user_id=other, email="b@example.org"))
    await ask(billing, other, plan="pro")
    settings = billing.res.settings.model_copy(
        update={"basic_entitlements": {"tokens_per_day": 7}, "pro_entitlements": {"burst": 9}}
    )
    res = replace(billing.res, settings=settings)

    assert await syncing.announce_grants(res) == 2
    assert await syncing.announce_grants(res) == 0

    mine = (await announced(billing, user_id, 2)).entitlements
    theirs = (await announced(billing, other, 2)).entitlements
    assert (mine.tokens_per_day, mine.burst, mine.messages_per_day) == (7, 5, 20)
    assert (theirs.tokens_per_day, theirs.burst, theirs.messages_per_day) == (None, 9, None)


async def test_paying_counts_beside_a_grant(
    billing: Billing, emulator: Emulator, user_id: UUID
) -> None:
    await ask(billing, user_id, entitlements={"concurrent_replies": 3})

    await emulator.pay(await billing.session(user_id))
    await billing.wait_for(user_id, plan="pro")

    change = await announced(billing, user_id, 2)
    assert (change.plan, change.entitlements.concurrent_replies) == ("pro", 3)
    assert change.entitlements.messages_per_day is None


async def test_the_same_key_grants_once(billing: Billing, user_id: UUID) -> None:
    answers = await asyncio.gather(*(ask(billing, user_id, key="k", plan="pro") for _ in range(8)))

    assert {each.status_code for each in answers} == {201}
    assert len({each.json()["id"] for each in answers}) == 1
    assert sum("idempotent-replayed" in each.headers for each in answers) == 7
    listed = (await ask(billing, user_id, "GET")).json()["data"]
    assert len(listed) == 1
    other = await ask(billing, user_id, key="k", plan="basic")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("method", "path", "who", "status"),
    [
        ("GET", "", "user", 403),
        ("POST", "", "user", 403),
        ("DELETE", f"/{new_id()}", "user", 403),
        ("GET", "", "support", 200),
        ("POST", "", "support", 403),
        ("DELETE", f"/{new_id()}", "support", 403),
        ("DELETE", f"/{new_id()}", "admin", 404),
    ],
)
async def test_support_reads_admins_grant_and_users_neither(
    billing: Billing, user_id: UUID, method: str, path: str, who: str, status: int
) -> None:
    as_ = {"user": user_id, "support": HELPER, "admin": ADMIN}[who]

    answer = await ask(billing, user_id, method, path, as_=as_, plan="pro")

    assert answer.status_code == status, answer.text
    if status == 403:
        assert answer.json()["code"] == "role_missing"
    assert (await billing.status(user_id))["plan"] == "basic"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"entitlements": {}},
        {"entitlements": {"messages_a_day": 1}},
        {"entitlements": {"messages_per_day": -1}},
        {"entitlements": {"messages_per_day": 10**12}},
        {"plan": "platinum"},
        {"plan": "pro", "expires_at": "2020-01-01T00:00:00Z"},
        {"plan": "pro", "starts_at": "2040-01-01T00:00:00Z", "expires_at": "2039-01-01T00:00:00Z"},
        {"plan": "pro", "reason": ""},
    ],
)
async def test_what_grants_nothing_is_refused(
    billing: Billing, user_id: UUID, body: dict[str, Any]
) -> None:
    answer = await ask(billing, user_id, **body)

    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed"), answer.text


async def test_nobody_is_granted_anything_whom_billing_does_not_know(
    billing: Billing, conn: Connection
) -> None:
    stranger = new_id()

    answer = await ask(billing, stranger, plan="pro")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert not await conn.fetchval("SELECT count(*) FROM subscription WHERE user_id = $1", stranger)


async def test_grants_are_in_the_archive_and_end_with_the_account(
    billing: Billing, user_id: UUID, conn: Connection
) -> None:
    """P3: and nothing tells any more what an admin granted who has deleted their account."""
    await ask(billing, user_id, plan="pro", reason="early friend")
    archive = (await exports.export_billing(billing.res, user_id)).decode()
    assert '"reason":"early friend"' in archive.replace(": ", ":")
    assert str(ADMIN) not in archive

    await deletion.forget_user(billing.res, UserDeleted(user_id=ADMIN))
    rows = await conn.fetch("SELECT granted_by FROM entitlement_grant")
    assert [row["granted_by"] for row in rows] == [None]
    await deletion.forget_user(billing.res, UserDeleted(user_id=user_id))

    assert await conn.fetchval("SELECT count(*) FROM entitlement_grant") == 0
    assert (await ask(billing, user_id, plan="pro")).status_code == 404


async def test_an_unchanged_status_is_not_sent_again(billing: Billing, user_id: UUID) -> None:
    headers = {"authorization": f"Bearer {user_id}"}
    first = await billing.http.get("/subscription/status", headers=headers)
    again = headers | {"if-none-match": f'"other", {first.headers["etag"]}'}

    same = await billing.http.get("/subscription/status", headers=again)
    await ask(billing, user_id, plan="pro")
    changed = await billing.http.get("/subscription/status", headers=again)

    assert (same.status_code, same.content) == (304, b"")
    assert same.headers["etag"] == first.headers["etag"] != changed.headers["etag"]
    assert changed.json()["plan"] == "pro"
