"""`docs/api/events.md` and the gateway name the same events, and each is told by something."""

import re
from typing import Any

from libs.common.clock import new_id, utc_now
from libs.common.events import (
    AIReplyFailed,
    AIReplyReady,
    AIReplyStarted,
    AIReplyStopped,
    ChatroomChanged,
    Entitlements,
    Event,
    MessageChanged,
    SessionRevoked,
    SubscriptionChanged,
    Usage,
    UserDeleted,
)
from libs.common.events.chat import Change
from libs.common.replies import TERMINAL
from libs.common.topology import CONSUMERS
from services.gateway import events
from services.gateway.replay import Replay, StreamEntry
from services.gateway.socket_rules import Close
from tests.contracts.tree import ROOT

TEXT = (ROOT / "docs/api/events.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([a-z.]+)` \| ([a-z, ]+) \|", TEXT, re.MULTILINE))

_ROOM: dict[str, Any] = {"user_id": new_id(), "chatroom_id": new_id()}
_REPLY = _ROOM | {"reply_id": new_id(), "attempt": 1}
_MESSAGE = _ROOM | {"message_id": new_id(), "created_at": utc_now()}
_CHANGES: tuple[Change, ...] = ("created", "updated", "deleted")
SAMPLES: list[Event] = [
    *(ChatroomChanged(**_ROOM, change=change, version=1) for change in _CHANGES),
    *(MessageChanged(**_MESSAGE, change=change) for change in _CHANGES),
    AIReplyStarted(**_REPLY, model="m"),
    AIReplyReady(**_REPLY, content="x", finish_reason="stop", model="m", usage=Usage()),
    AIReplyFailed(**_REPLY, code="c", detail="d", retryable=False),
    AIReplyStopped(**_REPLY),
    SubscriptionChanged(
        user_id=new_id(),
        version=1,
        plan="pro",
        status="active",
        entitlements=Entitlements(messages_per_day=1),
    ),
    SessionRevoked(
        user_id=new_id(), session_id=new_id(), tokens_expire_at=utc_now(), reason="logout"
    ),
]


def test_every_type_of_the_code_is_documented_and_no_other() -> None:
    assert set(ROWS) == events.ON_EVERY_STREAM | events.IN_THE_FEED | events.IN_A_REPLY


def test_the_page_says_where_a_type_is_told() -> None:
    assert {kind for kind, where in ROWS.items() if "feed" in where} == (
        events.IN_THE_FEED | events.ON_EVERY_STREAM - {events.STREAM_RECONNECT}
    )


def test_every_event_that_the_gateway_consumes_is_told_and_makes_the_types_of_the_feed() -> None:
    consumed = {event for event, consumers in CONSUMERS.items() if "gateway" in consumers}
    silent = {UserDeleted}  # it erases the feed
    assert {type(sample) for sample in SAMPLES} == consumed - silent
    assert {events.feed_document(sample)["type"] for sample in SAMPLES} == events.IN_THE_FEED


def test_every_entry_of_the_feed_has_the_envelope() -> None:
    for sample in SAMPLES:
        document = events.with_cursor("1-1", events.feed_document(sample))
        assert list(document)[:4] == ["id", "type", "v", "time"]
        assert set(document) <= {
            *("id", "type", "v", "time"),
            *("chatroom_id", "reply_id", "attempt", "data"),
        }
        assert str(document["time"]).endswith("Z")


def test_every_type_of_a_reply_is_told() -> None:
    told = {"message.created"}  # the first event of a post that turns into its reply's stream

    def encode(event: str, data: dict[str, Any], *, entry_id: str | None = None) -> bytes:
        assert data["type"] == event
        told.add(event)
        return b""

    def entry(kind: str, attempt: int, number: int) -> StreamEntry:
        document = {"type": kind, "attempt": attempt, "offset": 0, "text": ""}
        document |= {"finish_reason": None, "problem": None}
        return StreamEntry(f"1-{number}", document)

    for end in TERMINAL:
        replay = Replay("r", encode)
        for number, (kind, attempt) in enumerate(
            [("started", 1), ("delta", 1), ("started", 2), (end, 2)], start=1
        ):
            replay.tell(entry(kind, attempt, number))
    assert told == events.IN_A_REPLY


def test_every_close_code_is_documented_and_no_other() -> None:
    documented = {int(code) for code in re.findall(r"^\| (4\d{3}) \|", TEXT, re.MULTILINE)}
    assert documented == {int(code) for code in Close}
