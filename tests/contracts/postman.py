"""`Thoughtflow.postman_collection.json`: a login and a chat, then every operation by tag."""

import json
from collections.abc import Mapping
from typing import Any

from tests.contracts.postman_scripts import BEFORE, FLOW, OUTCOMES, SAVED, Step

Document = dict[str, Any]
SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
METHODS = ("get", "post", "put", "patch", "delete")
TAGS = ("live", "ai", "openai", "billing", "admin", "chat", "auth", "user")
"""Folders, in the order of a run: chat's last request deletes the room, user's the account."""

VARIABLES = {
    "baseUrl": "http://127.0.0.1:8000",
    **dict.fromkeys(("email", "otp", "access_token", "refresh_token", "guest_token"), ""),
}
"""Before a run; with those that stand for what paths need, which have their examples."""

_UNTIL_IT_ENDS = {"Prefer": "wait=30"}
HEADERS = {
    # So that no reply is open when the next request comes.
    "POST /chatroom/{chatroom_id}/message": _UNTIL_IT_ENDS,
    "PATCH /chatroom/{chatroom_id}/message/{message_id}": _UNTIL_IT_ENDS,
    "POST /chatroom/{chatroom_id}/message/{message_id}/regenerate": _UNTIL_IT_ENDS,
    "GET /event": {"Accept": "application/json"},
}
REPLIES = ("/feedback", "/regenerate")
"""Ends of paths whose `message_id` is a reply's."""

OF_A_GUEST = ("POST /auth/logout", "POST /auth/upgrade")
LAST = ("POST /auth/logout", "DELETE /user/me")


def collection_text(document: Document) -> str:
    """Return the text of the collection."""
    return json.dumps(_collection(document), indent=2, ensure_ascii=False) + "\n"


def _collection(document: Document) -> Document:
    operations = {
        f"{method.upper()} {path}": told
        for path, methods in document["paths"].items()
        for method, told in methods.items()
        if method in METHODS
    }
    variables = dict(VARIABLES)
    for told in operations.values():
        for parameter in told.get("parameters", []):
            if parameter["in"] == "path":
                variables.setdefault(parameter["name"], parameter["example"])
    flow = [_item(step.operation, operations[step.operation], step) for step in FLOW]
    return {
        "info": {
            "name": "Thoughtflow",
            "description": "Written by `make contracts` from the OpenAPI document; do not edit. "
            "The one-time code is in the answer with OTP_SENDER=mock; set `otp` otherwise.",
            "schema": SCHEMA,
        },
        "auth": _bearer("access_token"),
        "variable": [{"key": key, "value": value} for key, value in variables.items()],
        "item": [
            {"name": "Log in and chat", "item": flow},
            *(_folder(tag, operations) for tag in TAGS),
        ],
    }


def _folder(tag: str, operations: Mapping[str, Document]) -> Document:
    named = [name for name, told in operations.items() if tag in told["tags"]]
    # What deletes comes last, a part before the whole.
    named.sort(key=lambda name: (name in LAST, name.startswith("DELETE"), -name.count("/")))
    shown = [name for name in named if not name.startswith("DELETE") and name not in LAST]
    named = [*sorted(shown, key=list(operations).index), *named[len(shown) :]]
    return {"name": tag, "item": [_item(name, operations[name]) for name in named]}


def _item(name: str, told: Document, step: Step | None = None) -> Document:
    method, path = name.split(" ")
    headers = {**HEADERS.get(name, {}), **(step.headers if step else {})}
    content = told.get("requestBody", {}).get("content", {}).get("application/json")
    request: Document = {
        "method": method,
        "description": told.get("description", ""),
        "header": [{"key": key, "value": value} for key, value in headers.items()],
        "url": _url(path, told),
    }
    if "security" not in told or (step and step.is_anonymous):
        request["auth"] = {"type": "noauth"}
    elif name in OF_A_GUEST:
        request["auth"] = _bearer("guest_token")
    if content:
        body = step.body if step and step.body else _with_variables(content["example"])
        request["header"].append({"key": "Content-Type", "value": "application/json"})
        request["body"] = {
            "mode": "raw",
            "raw": json.dumps(body, indent=2, ensure_ascii=False),
            "options": {"raw": {"language": "json"}},
        }
    status, code = step.outcome if step else _outcome(name, told, headers)
    tests = [f'pm.test("answers {status}", () => pm.response.to.have.status({status}));']
    if code:
        tests.append(
            f'pm.test("as {code}", () => pm.expect(pm.response.json().code).to.eql("{code}"));'
        )
    tests += step.tests if step else SAVED.get(name, ())
    events = [_event("test", tests)]
    if before := step.before if step else BEFORE.get(name):
        events.insert(0, _event("prerequest", before))
    title = step.title if step else told["summary"]
    return {"name": title, "event": events, "request": request}


def _outcome(name: str, told: Document, headers: Mapping[str, str]) -> tuple[int, str]:
    """Return status and code of what the request gets in a run: success, unless told else."""
    if name in OUTCOMES:
        return OUTCOMES[name]
    if name.split(" ")[1].startswith("/admin/"):
        return 403, "role_missing"
    if "Prefer" in headers:
        return 201, ""
    return next(int(status) for status in told["responses"] if status.startswith("2")), ""


def _url(path: str, told: Document) -> Document:
    place = "{{reply_id}}" if path.endswith(REPLIES) else "{{message_id}}"
    path = path.replace("{message_id}", place)
    for parameter in told.get("parameters", []):
        if parameter["in"] == "path" and parameter["name"] != "message_id":
            path = path.replace(f"{{{parameter['name']}}}", f"{{{{{parameter['name']}}}}}")
    query = [
        {"key": each["name"], "value": str(each["example"])}
        for each in told.get("parameters", [])
        if each["in"] == "query" and each.get("required")
    ]
    asked = "?" + "&".join(f"{each['key']}={each['value']}" for each in query) if query else ""
    url: Document = {
        "raw": "{{baseUrl}}" + path + asked,
        "host": ["{{baseUrl}}"],
        "path": path.strip("/").split("/"),
    }
    return url | {"query": query} if query else url


def _with_variables(example: Any) -> Any:
    """Return a body with the run's own values where it has any."""
    if not isinstance(example, dict):
        return example
    ours = {"email", "otp", "refresh_token", "message_id"}
    return {key: f"{{{{{key}}}}}" if key in ours else value for key, value in example.items()}


def _bearer(variable: str) -> Document:
    token = {"key": "token", "value": f"{{{{{variable}}}}}", "type": "string"}
    return {"type": "bearer", "bearer": [token]}


def _event(listen: str, lines: list[str] | tuple[str, ...]) -> Document:
    return {"listen": listen, "script": {"type": "text/javascript", "exec": list(lines)}}
