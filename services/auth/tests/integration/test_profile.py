import asyncio
from typing import Any

import httpx2
import pytest

from libs.common.events import UserChanged
from services.auth.tests.integration.person import Person, listening

pytestmark = pytest.mark.integration


async def change(
    person: Person, login: dict[str, Any], body: Any, **headers: str
) -> httpx2.Response:
    return await person.client.patch(
        "/user/me",
        json=body,
        headers={"Authorization": f"Bearer {login['access_token']}", **headers},
    )


async def test_what_is_sent_is_changed_and_the_rest_stays(ada: Person) -> None:
    login = await ada.log_in()

    first = await change(ada, login, {"name": "Ada", "locale": "de-AT"})
    preferences = {"theme": "dark", "rooms": {"open": [1, 2.5, None, True, "ä"]}}
    second = await change(ada, login, {"timezone": "Europe/Vienna", "preferences": preferences})
    third = await change(ada, login, {"name": None, "preferences": {}})

    assert first.json() == login["user"] | {"name": "Ada", "locale": "de-AT", "version": 2}
    assert second.json() == first.json() | {
        "timezone": "Europe/Vienna",
        "preferences": preferences,
        "version": 3,
    }
    assert third.json() == second.json() | {"name": None, "preferences": {}, "version": 4}
    read = await ada.me(login["access_token"])
    assert (read.json(), read.headers["etag"]) == (third.json(), '"4"')


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "value_error"),
        ({"preferences": None}, "value_error"),
        ({"plan": "pro"}, "extra_forbidden"),
        ({"id": "0", "verified": True, "email": "b@example.org"}, "extra_forbidden"),
        ({"name": ""}, "too_short"),
        ({"locale": "de_AT"}, "invalid_locale"),
        ({"locale": "german"}, "invalid_locale"),
        ({"timezone": "Europe/Atlantis"}, "invalid_timezone"),
        ({"timezone": "../../etc/passwd"}, "invalid_timezone"),
        ({"preferences": [1]}, "dict_type"),
        ({"preferences": {"a": "x" * 4096}}, "value_error"),
        ({"preferences": {"a": {"b": {"c": {"d": {"e": 1}}}}}}, None),
        ({"preferences": {"a": {"b": {"c": {"d": {"e": {}}}}}}}, "value_error"),
        ({"preferences": {"a\x00": 1}}, "value_error"),
        ({"preferences": {"a": 2**53}}, "value_error"),
    ],
)
async def test_what_cannot_be_kept_is_refused(ada: Person, body: Any, code: str | None) -> None:
    """Z3, Z5: only one's own words are one's to change."""
    login = await ada.log_in()

    answer = await change(ada, login, body)

    assert answer.status_code == (422 if code else 200), answer.text
    assert code is None or code in {error["code"] for error in answer.json()["errors"]}
    read = (await ada.me(login["access_token"])).json()
    assert (read == login["user"]) == (code is not None)


async def test_of_many_changes_of_one_version_one_is_made(ada: Person) -> None:
    login = await ada.log_in()

    answers = await asyncio.gather(
        *(change(ada, login, {"name": f"Ada {n}"}, **{"If-Match": '"1"'}) for n in range(10))
    )

    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 9
    refused = next(answer for answer in answers if answer.status_code == 412)
    assert refused.json()["code"] == "precondition_failed"
    assert (await ada.me(login["access_token"])).json()["version"] == 2


async def test_a_change_is_announced_with_its_version(ada: Person, rabbitmq_url: str) -> None:
    login = await ada.log_in()

    async with listening(rabbitmq_url, UserChanged) as bodies:
        await change(ada, login, {"name": "Countess"})
        async with asyncio.timeout(5):
            event = UserChanged.model_validate_json(await bodies.get())

    assert str(event.user_id) == login["user"]["id"]
    assert (event.version, event.name, event.email) == (2, "Countess", ada.email)


async def test_nobody_changes_anything_without_a_token(ada: Person) -> None:
    answer = await ada.client.patch("/user/me", json={"name": "Eve"})

    assert answer.status_code == 401
