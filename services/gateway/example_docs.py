"""Examples of requests and answers, made up from their schemas."""

from collections.abc import Mapping
from typing import Any

from libs.common.problems import MEDIA_TYPE
from services.gateway.operation_docs import METHODS, Document

ID = "01937f2e-6c00-7000-8000-000000000001"
INSTANT = "2026-11-23T12:00:00Z"
EVENT = (
    "id: 1764000000000-0\nevent: message.delta\n"
    'data: {"type":"message.delta","reply_id":"' + ID + '","attempt":1,"offset":0,"text":"Hello"}\n'
)
_TEXTS = {
    "text/event-stream": EVENT,
    "text/html": "<!doctype html>",
    "text/markdown": "# Tea\n\n**You:** Hello!\n",
}
_FORMATS = {"uuid": ID, "date-time": INSTANT, "email": "ada@example.com"}
_NAMED: Mapping[str, Any] = {
    "access_token": "eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiIwMTkzIn0.c2lnbmF0dXJl",
    "action": "user_banned",
    "amount_paid": 2000,
    "challenge": "c-5Yw0vGmQ",
    "checkout_url": "https://checkout.stripe.com/c/pay/cs_test_1",
    "client_message_id": "message-1",
    "code": "123456",
    "content": "Hello! What is Thoughtflow?",
    "currency": "usd",
    "detail": {"reason": "spam"},
    "device": "Firefox on Linux",
    "dispute_status": None,
    "email": "ada@example.com",
    "entitlements": {"messages_per_day": 100},
    "event_id": "evt_1",
    "expires_in": 900,
    "finish_reason": "stop",
    "hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "hosted_url": "https://invoice.stripe.com/i/in_1",
    "key": "tf_GlN5Zr0m3Wf0l8xgq4mW2oW3zq5l9b7Jx1c6m0aYk2d4h8s3x",
    "label": "Gemini Flash",
    "locale": "de-AT",
    "metadata": {"colour": "blue"},
    "model": "gemini-flash-latest",
    "name": "Ada",
    "next_cursor": None,
    "number": "A-0001",
    "otp": "123456",
    "pdf_url": "https://invoice.stripe.com/i/in_1/pdf",
    "phone": "+436641234567",
    "policy": "messages",
    "portal_url": "https://billing.stripe.com/p/session/test_1",
    "preferences": {"theme": "dark"},
    "prefix": "tf_GlN5Zr0",
    "present_otp": "654321",
    "prev_cursor": None,
    "problem": None,
    "q": "tea",
    "reason": "as agreed with the customer",
    "recovery_codes": ["7k2m-9xqd-4vwt"],
    "refresh_token": "r-8Jc2Xw0n4Q",
    "secret": "JBSWY3DPEHPK3PXP",
    "session_id": "cs_test_1",
    "snippet": "a cup of tea",
    "status": "active",
    "stream_url": f"/chatroom/{ID}/message/{ID}/stream",
    "stripe_customer_id": "cus_1",
    "stripe_subscription_id": "sub_1",
    "text": "Hello!",
    "ticket": "Zb3Jm6v1Qy0x9KcW2dLr8A",
    "timezone": "Europe/Vienna",
    "title": "Tea",
    "type": "invoice.paid",
    "unit": "messages",
    "uri": "otpauth://totp/Thoughtflow:ada?secret=JBSWY3DPEHPK3PXP&issuer=Thoughtflow",
    "why": "an active subscription",
}
"""Values of fields of that name, where their schema tells no other."""


def add_examples(document: Document) -> None:
    """Give every parameter, body and answer without an example one, and share those of problems."""
    maker = _Maker(document["components"].get("schemas", {}))
    shared: Document = {}
    for operations in document["paths"].values():
        for method in operations.keys() & set(METHODS):
            _add_to_request(operations[method], maker)
            for response in operations[method]["responses"].values():
                _add_to_answer(response.get("content", {}), maker, shared)
    document["components"]["examples"] = shared


def _add_to_request(operation: Document, maker: "_Maker") -> None:
    for parameter in operation.get("parameters", []):
        if parameter.get("required") and "example" not in parameter:
            parameter["example"] = maker.example(parameter["schema"], parameter["name"])
    for content in operation.get("requestBody", {}).get("content", {}).values():
        if "example" not in content:
            content["example"] = maker.example(content["schema"], is_request=True)


def _add_to_answer(contents: Document, maker: "_Maker", shared: Document) -> None:
    for media_type, content in contents.items():
        if media_type == MEDIA_TYPE:
            shared |= content["examples"]
            references = {code: f"#/components/examples/{code}" for code in content["examples"]}
            content["examples"] = {code: {"$ref": each} for code, each in references.items()}
        elif not {"example", "examples"} & content.keys():
            content["example"] = _TEXTS.get(media_type) or maker.example(content.get("schema", {}))


class _Maker:
    def __init__(self, schemas: Mapping[str, Any]) -> None:
        self._schemas = schemas

    def example(
        self, schema: Mapping[str, Any], name: str = "", *, is_request: bool = False
    ) -> Any:
        """Return a value that the schema allows; of a request what it needs, or else all of it."""
        if "$ref" in schema:
            schema = self._schemas[schema["$ref"].rpartition("/")[2]]
        if "examples" in schema:
            return self._with_nulls(schema["examples"][0], schema)
        if "const" in schema or "enum" in schema:
            return schema.get("const") or schema["enum"][0]
        if schema.get("type") == "string" and schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        if name in _NAMED and not {"properties", "items", "$ref"} & schema.keys():
            named = _NAMED[name]
            if _fits(named, schema):
                return named
        if choices := schema.get("anyOf") or schema.get("oneOf"):
            return self.example(choices[0], name)
        return self._of_type(schema, name, is_request=is_request)

    def _with_nulls(self, value: Any, schema: Mapping[str, Any]) -> Any:
        """Return a value with the members that are null, which FastAPI leaves out of examples."""
        if "$ref" in schema:
            schema = self._schemas[schema["$ref"].rpartition("/")[2]]
        if isinstance(value, list):
            return [self._with_nulls(each, schema["items"]) for each in value]
        if not isinstance(value, dict) or "properties" not in schema:
            return value
        of = schema["properties"]
        return dict.fromkeys(schema.get("required", ())) | {
            name: self._with_nulls(each, of[name]) for name, each in value.items()
        }

    def _of_type(self, schema: Mapping[str, Any], name: str, *, is_request: bool) -> Any:
        match schema.get("type"):
            case "object":
                properties = schema.get("properties", {})
                needed = is_request and schema.get("required")
                return {each: self.example(properties[each], each) for each in needed or properties}
            case "array" if "prefixItems" in schema:
                return [self.example(each) for each in schema["prefixItems"]]
            case "array":
                return [self.example(schema["items"], name)]
            case "integer" | "number":
                return schema.get("default", schema.get("minimum", 1))
        return {"boolean": False, "string": "text"}.get(schema.get("type", ""))


def _fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Tell whether a field of that name may be meant: the same name has several types."""
    kinds = {each.get("type") for each in schema.get("anyOf", [schema])}
    return _KINDS[type(value)] in kinds


_KINDS = {type(None): "null", str: "string", dict: "object", list: "array", int: "integer"}
