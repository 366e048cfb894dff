"""`docs/asyncapi.json` (AsyncAPI 3): what goes over RabbitMQ, and between devices and us."""

import json
import re
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from libs.common import topology
from libs.common.events import ALL_EVENTS, Event
from services.gateway import events as told
from services.gateway import socket_rules
from tests.contracts.tree import ROOT

Document = dict[str, Any]
REF_TEMPLATE = "#/components/schemas/{model}"
ROW = re.compile(r"^\| `([a-z.]+)` \| ([a-z, ]+) \| (.+) \|$", re.MULTILINE)
FRAMES: tuple[type[BaseModel], ...] = get_args(socket_rules.Frame)
ID: Document = {"type": "string", "format": "uuid"}
CURSOR: Document = {"type": "string", "description": "a place to come back to"}
NAMED_FRAME: Document = {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]}


def device_events() -> dict[str, str]:
    """Return what `docs/api/events.md` says of each type that devices are told."""
    text = (ROOT / "docs/api/events.md").read_text(encoding="utf-8")
    return {kind: about for kind, _, about in ROW.findall(text)}


def asyncapi_text() -> str:
    """Return the document."""
    return json.dumps(asyncapi_document(), indent=2, ensure_ascii=False) + "\n"


def asyncapi_document() -> Document:
    """Return the document as it is published, as JSON has it."""
    models: list[type[BaseModel]] = [*ALL_EVENTS, *FRAMES]
    _, shared = models_json_schema(
        [(model, "validation") for model in models], ref_template=REF_TEMPLATE
    )
    channels: Document = {}
    operations: Document = {}
    for event in ALL_EVENTS:
        _add_event(event, channels, operations)
    _add_devices(channels, operations)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Thoughtflow",
            "version": "1",
            "description": "What services tell each other over RabbitMQ, and what devices are told "
            "over server-sent events and WebSockets; docs/api/events.md explains the latter. "
            "Written by `make contracts`; do not edit.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "broker": {"host": "rabbitmq:5672", "protocol": "amqp"},
            "gateway": {"host": "127.0.0.1:8000", "protocol": "http"},
            "sockets": {"host": "127.0.0.1:8000", "protocol": "ws"},
        },
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": {
                **{event.TYPE: _broker_message(event) for event in ALL_EVENTS},
                **{f"feed.{kind}": _feed_message(kind) for kind in sorted(_FEED)},
                **{f"reply.{kind}": _reply_message(kind) for kind in sorted(_REPLY)},
                **{f"frame.{_op_of(frame)}": _frame_message(frame) for frame in FRAMES},
                **{f"socket.{name}": _answer_message(name) for name in ANSWERS},
            },
            "schemas": shared["$defs"],
        },
    }


def _add_event(event: type[Event], channels: Document, operations: Document) -> None:
    """Add the exchange's channel and the queues of one event."""
    producer = event.TYPE.partition(".")[0]
    channels[event.TYPE] = {
        "address": event.TYPE,
        "servers": [{"$ref": "#/servers/broker"}],
        "messages": _messages("", [event.TYPE]),
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {
                    "name": topology.EVENTS.name,
                    "type": topology.EVENTS.type.value,
                    "durable": topology.EVENTS.durable,
                    "autoDelete": topology.EVENTS.auto_delete,
                    "vhost": "/",
                },
                "bindingVersion": "0.3.0",
            }
        },
    }
    operations[f"{producer} sends {event.TYPE}"] = _operation("send", event.TYPE, producer)
    for consumer in topology.CONSUMERS[event]:
        queue = topology.queue(consumer, event)
        channels[queue.name] = {
            "address": queue.name,
            "servers": [{"$ref": "#/servers/broker"}],
            "messages": _messages("", [event.TYPE]),
            "bindings": {
                "amqp": {
                    "is": "queue",
                    "queue": {
                        "name": queue.name,
                        "durable": queue.durable,
                        "exclusive": queue.exclusive,
                        "autoDelete": queue.auto_delete,
                        "vhost": "/",
                    },
                    "bindingVersion": "0.3.0",
                }
            },
        }
        operations[f"{consumer} receives {event.TYPE}"] = _operation(
            "receive", queue.name, consumer
        )


_FEED = told.IN_THE_FEED | told.ON_EVERY_STREAM
_REPLY = told.IN_A_REPLY | {told.STREAM_RECONNECT, told.SESSION_REVOKED}
_ANSWER: Document = {"type": "object", "properties": {"id": NAMED_FRAME}}
ANSWERS: dict[str, Document] = {
    "ok": {**_ANSWER, "required": ["op", "id"]},
    "error": {
        **_ANSWER,
        "required": ["op", "id", "problem"],
        "properties": {"id": NAMED_FRAME, "problem": {"type": "object"}},
    },
    "event": {
        "type": "object",
        "required": ["op", "subscription", "cursor", "event"],
        "properties": {
            "subscription": {"type": "string", "description": "a reply's id, or `feed`"},
            "cursor": {"type": ["string", "null"]},
            "event": {"type": "object", "description": "as over server-sent events"},
        },
    },
}
"""What the server sends over a WebSocket, by `op`."""


def _add_devices(channels: Document, operations: Document) -> None:
    """Add what is between devices and the gateway."""
    feed = [f"feed.{kind}" for kind in sorted(_FEED)]
    reply = [f"reply.{kind}" for kind in sorted(_REPLY)]
    asked = [f"frame.{_op_of(frame)}" for frame in FRAMES]
    answered = [f"socket.{name}" for name in ANSWERS]
    http, sockets = [{"$ref": "#/servers/gateway"}], [{"$ref": "#/servers/sockets"}]
    channels["feed"] = {"address": "/event", "servers": http, "messages": _messages("", feed)}
    channels["reply"] = {
        "address": "/chatroom/{chatroom_id}/message/{reply_id}/stream",
        "servers": http,
        "parameters": {
            "chatroom_id": {"description": "the chatroom"},
            "reply_id": {"description": "the reply, from the answer to the post"},
        },
        "messages": _messages("", reply),
    }
    channels["socket"] = {
        "address": "/ws",
        "servers": sockets,
        "description": f"Subprotocol {socket_rules.SUBPROTOCOL}; JSON text frames",
        "messages": _messages("", [*asked, *answered]),
        "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
    }
    operations["gateway sends feed"] = _operation("send", "feed", "gateway")
    operations["gateway sends reply"] = _operation("send", "reply", "gateway")
    operations["gateway receives frames"] = _operation("receive", "socket", "gateway", asked)
    operations["gateway sends frames"] = _operation("send", "socket", "gateway", answered)


def _operation(
    action: str, channel: str, service: str, messages: list[str] | None = None
) -> Document:
    reference = f"#/channels/{channel}"
    operation: Document = {
        "action": action,
        "channel": {"$ref": reference},
        "tags": [{"name": service}],
    }
    if messages:
        operation["messages"] = [{"$ref": f"{reference}/messages/{each}"} for each in messages]
    return operation


def _messages(prefix: str, names: list[str]) -> Document:
    return {name: {"$ref": f"#/components/messages/{prefix}{name}"} for name in names}


def _broker_message(event: type[Event]) -> Document:
    about = (event.__doc__ or "").strip().splitlines()[0]
    schema = {"$ref": REF_TEMPLATE.format(model=event.__name__)}
    return {"name": event.TYPE, "title": event.__name__, "summary": about, "payload": schema}


def _feed_message(kind: str) -> Document:
    needed = ["type", "v", "data"]
    if kind in told.IN_THE_FEED:
        needed = ["id", "type", "v", "time", "data"]
    return _device_message(
        kind,
        needed,
        {
            "id": CURSOR,
            "v": {"const": told.VERSION},
            "time": {"type": "string", "format": "date-time"},
            "chatroom_id": ID,
            "reply_id": ID,
            "attempt": {"type": "integer", "minimum": 0},
            "data": {"type": "object"},
        },
    )


def _reply_message(kind: str) -> Document:
    fields: Document = {"reply_id": ID, "attempt": {"type": "integer", "minimum": 0}}
    if kind in {"message.delta", "generation.snapshot"}:
        fields |= {"offset": {"type": "integer", "minimum": 0}, "text": {"type": "string"}}
        return _device_message(kind, ["type", *fields], fields)
    return _device_message(kind, ["type"], fields)


def _device_message(kind: str, needed: list[str], fields: Document) -> Document:
    properties = {"type": {"const": kind}, **fields}
    payload = {"type": "object", "required": needed, "properties": properties}
    return {"name": kind, "summary": device_events()[kind], "payload": payload}


def _op_of(frame: type[BaseModel]) -> str:
    op: str = get_args(frame.model_fields["op"].annotation)[0]
    return op


def _frame_message(frame: type[BaseModel]) -> Document:
    about = (frame.__doc__ or "").strip().splitlines()[0]
    schema = {"$ref": REF_TEMPLATE.format(model=frame.__name__)}
    return {"name": _op_of(frame), "summary": about, "payload": schema}


def _answer_message(name: str) -> Document:
    schema = ANSWERS[name]
    properties = {"op": {"const": name}, **schema["properties"]}
    return {"name": name, "payload": {**schema, "properties": properties}}
