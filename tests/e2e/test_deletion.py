"""A user who deletes their account leaves no trace but what is published."""

import httpx2
import pytest

from libs.common.clock import new_id
from libs.common.testing import eventually
from tests.e2e.gemini import Gemini
from tests.e2e.person import Person
from tests.e2e.stack import Stack
from tests.e2e.traces import may_name_a_deleted_user, places_that_name

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


async def test_a_deleted_user_is_named_nowhere_within_thirty_seconds(
    stack: Stack, person: Person, gemini: Gemini
) -> None:
    """P3: with a reply under way, a subscription that is paid, and a feed that is open."""
    word = f"word{new_id().hex}"
    me = await person.call("PATCH", "/user/me", {"name": f"Ada {word}"})
    await person.call("POST", "/user/me/api-key", {"name": word, "scopes": ["chat"]})
    await person.pay(stack.url("stripe"))
    room = await person.room()
    asked = (await person.post(room, f"What is a {word}?")).json()
    await person.ended(room)
    await gemini.order("slow", word, delay_s=120)
    pending = (await person.post(room, f"And again: {word}?")).json()
    await person.feed(None)
    await person.call("PATCH", f"/chatroom/{room}", {"metadata": {"word": word}})
    sessions = await stack.query(
        lambda conn: conn.fetch("SELECT id FROM auth.session WHERE user_id::text = $1", me["id"])
    )
    (customer,) = await stack.query(
        lambda conn: conn.fetch(
            "SELECT stripe_customer_id AS id FROM billing.customer WHERE user_id::text = $1",
            me["id"],
        )
    )
    words = [me["id"], me["email"], word, room, customer["id"]]
    words += [str(row["id"]) for row in sessions]
    words += [posted[part]["id"] for posted in (asked, pending) for part in ("message", "reply")]
    before = await places_that_name(stack, words)

    deleted = await person.http.delete("/user/me")

    assert deleted.status_code == 202, deleted.text
    left: set[str] = set()

    async def nothing_is_left() -> bool:
        left.clear()
        left.update(await places_that_name(stack, words) - may_name_a_deleted_user())
        return not left

    try:
        await eventually(nothing_is_left, within_s=30)
    except AssertionError:
        pytest.fail(f"still named in {sorted(left)}")
    assert before >= {
        *(
            "auth.account",
            "auth.api_key",
            "auth.session",
            "auth.plan",
            "billing.customer",
            "billing.stripe_event",
        ),
        *("billing.timeline", "billing.invoice"),
        *("billing.subscription", "billing.checkout", "chat.chatroom", "chat.message"),
        *("chat.entitlement", "ai.generation", "ai.usage_ledger", "ai.entitlement"),
        *("feed:*", "feed-ids:*"),
    }, before
    refused = await person.http.get("/chatroom")
    assert (refused.status_code, refused.json()["code"]) == (401, "session_revoked")
    async with httpx2.AsyncClient(base_url=stack.url("stripe")) as stripe:
        live = await stripe.get(
            "/v1/subscriptions", headers={"authorization": "Bearer sk_test_anything"}
        )
        assert live.status_code == 200
        assert customer["id"] not in live.text
