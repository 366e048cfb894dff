"""What the requests of the Postman collection expect, and keep for those that follow."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


def _keep(variable: str, member: str) -> str:
    return f'pm.collectionVariables.set("{variable}", pm.response.json().{member});'


def _equals(title: str, member: str, value: str) -> str:
    return f'pm.test("{title}", () => pm.expect(pm.response.json().{member}).to.eql({value}));'


_SAYS_SOMETHING = (
    'pm.test("it says something", () => '
    "pm.expect(pm.response.json().reply.content).to.not.be.empty);"
)
TOKENS = (
    _keep("access_token", "access_token"),
    _keep("refresh_token", "refresh_token"),
    _keep("user_id", "user.id"),
)
CODE = (
    # Other senders do not tell: the person types it into the variable.
    'if (pm.response.json().otp) pm.collectionVariables.set("otp", pm.response.json().otp);',
)


@dataclass(frozen=True)
class Step:
    """A request of the first folder.

    Attributes:
        outcome: the status, and the code of a refusal.
        tests: lines of JavaScript after the answer.
        before: the same, before the request.
    """

    title: str
    operation: str
    outcome: tuple[int, str]
    tests: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    is_anonymous: bool = False


FLOW = (
    Step(
        "Sign up",
        "POST /auth/signup",
        (201, ""),
        tests=(_equals("the code is next", "next", '"/auth/send-otp"'),),
        before=(
            'const name = "ada-" + pm.variables.replaceIn("{{$randomUUID}}");',
            'pm.collectionVariables.set("email", name + "@example.com");',
        ),
        body={"email": "{{email}}", "name": "Ada"},
    ),
    Step("Get a one-time code", "POST /auth/send-otp", (202, ""), tests=CODE),
    Step(
        "Log in by the code",
        "POST /auth/verify-otp",
        (200, ""),
        tests=(
            _equals("a bearer token", "token_type", '"bearer"'),
            _equals("of the user", "user.email", 'pm.collectionVariables.get("email")'),
            *TOKENS,
        ),
    ),
    Step("The code works once", "POST /auth/verify-otp", (401, "otp_invalid")),
    Step(
        "Who am I",
        "GET /user/me",
        (200, ""),
        tests=(_equals("the same user", "id", 'pm.collectionVariables.get("user_id")'),),
    ),
    Step("Nobody without a token", "GET /user/me", (401, "unauthenticated"), is_anonymous=True),
    Step(
        "Create a chatroom",
        "POST /chatroom",
        (201, ""),
        tests=(_keep("chatroom_id", "id"), _equals("its title", "title", '"Tea"')),
        body={"title": "Tea"},
    ),
    Step(
        "Send a message and wait for the reply",
        "POST /chatroom/{chatroom_id}/message",
        (201, ""),
        tests=(
            _equals("the reply is complete", "reply.status", '"completed"'),
            _SAYS_SOMETHING,
            _keep("message_id", "message.id"),
            _keep("reply_id", "reply.id"),
        ),
        headers={"Prefer": "wait=30"},
        body={"content": "How is tea made?"},
    ),
    Step(
        "List the chatrooms",
        "GET /chatroom",
        (200, ""),
        tests=(_equals("it is there", "data[0].id", 'pm.collectionVariables.get("chatroom_id")'),),
    ),
    Step(
        "Read the conversation",
        "GET /chatroom/{chatroom_id}/message",
        (200, ""),
        tests=(
            _equals("the reply first", "data[0].id", 'pm.collectionVariables.get("reply_id")'),
            _equals("then the message", "data[1].content", '"How is tea made?"'),
        ),
    ),
    Step(
        "The plan",
        "GET /subscription/status",
        (200, ""),
        tests=(_equals("Basic", "plan", '"basic"'),),
    ),
)

SAVED: Mapping[str, tuple[str, ...]] = {
    "POST /auth/send-otp": CODE,
    "POST /auth/verify-otp": TOKENS,
    "POST /auth/refresh": TOKENS,
    "POST /auth/guest": (_keep("guest_token", "access_token"),),
    "GET /auth/session": (
        "const other = pm.response.json().data.find((session) => !session.current);",
        'pm.test("the first login is listed", () => pm.expect(other).to.be.an("object"));',
        'if (other) pm.collectionVariables.set("session_id", other.id);',
    ),
    "POST /user/me/api-key": (_keep("key_id", "id"),),
}
"""What an answer gives to later requests."""

_ONCE_THE_ROOM_IS_FREE = (
    # A reply is told a moment before chat has it.
    "const asked = {",
    '  url: pm.variables.replaceIn("{{baseUrl}}/chatroom/{{chatroom_id}}/message"),',
    '  header: { Authorization: "Bearer " + pm.collectionVariables.get("access_token") },',
    "};",
    "const look = (left) => pm.sendRequest(asked, (error, response) => {",
    '  const isOpen = (message) => ["queued", "running"].includes(message.status);',
    "  const again = !error && response.code === 200 && response.json().data.some(isOpen);",
    "  if (again && left > 0) setTimeout(() => look(left - 1), 100);",
    "});",
    "look(100);",
)
BEFORE: Mapping[str, tuple[str, ...]] = dict.fromkeys(
    (
        "PATCH /chatroom/{chatroom_id}/message/{message_id}",
        "POST /chatroom/{chatroom_id}/message/{message_id}/regenerate",
        "PUT /chatroom/{chatroom_id}/path",
    ),
    _ONCE_THE_ROOM_IS_FREE,
)
"""What a request waits for."""

OUTCOMES: Mapping[str, tuple[int, str]] = {
    "GET /chatroom/{chatroom_id}/stream": (204, ""),
    "POST /webhook/stripe": (400, "bad_signature"),
    "POST /subscription/cancel": (409, "nothing_to_cancel"),
    "POST /subscription/resume": (409, "nothing_to_resume"),
    "POST /auth/upgrade": (401, "otp_invalid"),
    "POST /auth/verify-factor": (401, "factor_challenge_invalid"),
    "POST /user/me/identifier": (409, "identifier_unchanged"),
    "PUT /user/me/identifier": (409, "identifier_unchanged"),
    "POST /user/me/factor/confirm": (401, "factor_invalid"),
    "DELETE /user/me/factor": (404, "factor_not_found"),
}
"""What a user of five minutes is refused; operations for admins aside."""
