"""What a user does is in the logs; who they are and what they write is not."""

import json
import re

import httpx2
import pytest

from libs.common.clock import new_id
from tests.e2e.person import Person, ticket_for
from tests.e2e.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
STEPS = (
    *("/auth/signup", "/auth/send-otp", "/auth/verify-otp", "/auth/refresh", "/user/me"),
    *("/user/me/identifier", "/chatroom/{chatroom_id}/message"),
)


async def test_no_log_names_who_logged_in_wrote_moved_and_left(stack: Stack) -> None:
    """P1: nor a code, a token, what was written or a key; all processes log at DEBUG."""
    async with httpx2.AsyncClient(base_url=stack.url("gateway"), timeout=30) as http:
        secrets = await live(Person(http))
    kept: dict[str, str] = json.loads((stack.home / "secrets.json").read_text())
    secrets |= {f"key {name}": value for name, value in kept.items()}

    texts = {path.stem: path.read_text(errors="replace") for path in stack.logs()}

    # The launcher shows people how to log in to the broker's own pages, on their terminal.
    texts["run"] = texts["run"].replace(kept["rabbitmq"], "")
    found = {
        (name, kind)
        for name, text in texts.items()
        for kind, secret in secrets.items()
        if re.search(rf"(?<![\w.]){re.escape(secret)}(?!\w)", text, re.IGNORECASE)
    }
    assert found == set()
    assert [step for step in STEPS if step not in texts["auth"] + texts["chat"]] == []


async def live(person: Person) -> dict[str, str]:
    """Do all that a user can; return what no log may hold, by its kind."""
    word = f"word{new_id().hex}"
    who = {"email": f"{new_id().hex}@example.com"}
    new = {"phone": f"+1415555{new_id().int % 10_000:04}"}
    await person.call("POST", "/auth/signup", {**who, "name": f"Ada {word}"})
    otp = (await person.call("POST", "/auth/send-otp", who))["otp"]
    wrong = f"{(int(otp) + 1) % 1_000_000:06}"
    guess = await person.http.post("/auth/verify-otp", json={**who, "otp": wrong})
    assert guess.status_code == 401
    login = await person.call("POST", "/auth/verify-otp", {**who, "otp": otp})
    renewed = await person.call("POST", "/auth/refresh", {"refresh_token": login["refresh_token"]})
    person.http.headers["authorization"] = f"Bearer {renewed['access_token']}"
    ticket = await ticket_for(person.http)
    room = str((await person.call("POST", "/chatroom", {"title": word}))["id"])
    posted = (await person.post(room, f"What is a {word}?")).json()
    await person.follow(posted["stream_url"])
    await person.call("GET", f"/search?q={word}")
    bad = await person.http.post(f"/chatroom/{room}/message", json={"content": word, word: 1})
    assert bad.status_code == 422
    sent = await person.call("POST", "/user/me/identifier", new)
    codes = {"otp": sent["new"]["otp"], "present_otp": sent["present"]["otp"]}
    moved = await person.call("PUT", "/user/me/identifier", {**new, **codes})
    assert moved["phone"] == new["phone"]
    deleted = await person.http.delete("/user/me")
    assert deleted.status_code == 202
    return {
        "word": word,
        "e-mail": who["email"],
        "phone": new["phone"].removeprefix("+"),
        "code": otp,
        "wrong code": wrong,
        **codes,
        "ticket": ticket,
        **{f"first {name}": login[name] for name in ("access_token", "refresh_token")},
        **{f"second {name}": renewed[name] for name in ("access_token", "refresh_token")},
    }
