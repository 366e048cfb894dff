"""What the running system tells its operators: its metrics, and one trace in all its logs."""

import json
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy.local.config import SERVICES
from libs.common.clock import new_id
from libs.common.testing import eventually
from tests.contracts.queries import QUERIES, names
from tests.e2e.person import Person
from tests.e2e.stack import Stack, service_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
Line = dict[str, Any]


def lines(stack: Stack, **wanted: str) -> list[Line]:
    """Return the log lines of our services that have these values."""
    texts = [
        text
        for path in stack.logs()
        for text in path.read_text(errors="replace").splitlines()
        if text.startswith("{") and text.endswith("}")  # the last may be half written
    ]
    return [line for line in map(json.loads, texts) if wanted.items() <= line.items()]


async def trace_of(stack: Stack, answer: httpx2.Response, service: str) -> str:
    """Return the trace that a service served the request in."""
    request_id = answer.headers["x-request-id"]

    async def served() -> list[Line]:
        return lines(stack, event="request", service=service, request_id=request_id)

    (line,) = await eventually(served)
    return str(line["trace_id"])


async def test_a_trace_is_found_in_the_logs_of_every_service_that_a_request_led_to(
    stack: Stack, person: Person
) -> None:
    """O2: from the gateway through the events to the reply, and from a login to billing."""
    room = await person.room()
    posted = await person.post(room, "What is tea?")
    await person.follow(posted.json()["stream_url"])
    who = {"email": f"{posted.json()['reply']['id']}@example.com"}
    await person.call("POST", "/auth/signup", who)
    otp = (await person.call("POST", "/auth/send-otp", who))["otp"]
    verified = await person.http.post("/auth/verify-otp", json={**who, "otp": otp})
    expected = {
        ("chat", "request", "/chatroom/{chatroom_id}/message"),
        ("ai", "delivery", "chat.message_posted.v1"),
        ("chat", "delivery", "ai.reply_ready.v1"),
        ("gateway", "delivery", "ai.reply_ready.v1"),
        ("auth", "request", "/auth/verify-otp"),
        ("billing", "delivery", "auth.user_registered.v1"),
    }
    traces = [await trace_of(stack, posted, "chat"), await trace_of(stack, verified, "auth")]
    assert len(set(traces)) == 2

    async def passed() -> bool:
        found = [line for trace in traces for line in lines(stack, trace_id=trace)]
        places = {
            (line["service"], line["event"], line.get("route") or line.get("type"))
            for line in found
        }
        return expected <= places

    await eventually(passed, within_s=20)


async def test_a_client_that_traces_finds_its_own_id(stack: Stack, person: Person) -> None:
    trace = new_id().hex
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}

    answer = await person.http.get("/user/me", headers=headers)

    assert await trace_of(stack, answer, "auth") == trace


async def test_the_running_services_tell_all_that_dashboards_and_alerts_ask_for(
    stack: Stack, person: Person
) -> None:
    room = await person.room()
    posted = await person.post(room, "What is tea?")
    await person.follow(posted.json()["stream_url"])
    ports = json.loads((stack.home / "ports.json").read_text())["ports"]
    services = [each for each in stack.processes() if service_of(each["name"]) in SERVICES]
    told: set[str] = set()
    async with httpx2.AsyncClient() as prometheus:
        for each in services:
            is_gateway = service_of(each["name"]) == "gateway"
            port = ports[f"{each['name']}-metrics"] if is_gateway else each["port"]
            answer = await prometheus.get(f"http://127.0.0.1:{port}/metrics")
            for family in text_string_to_metric_families(answer.text):
                kind = family.type
                suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
                told |= {family.name + suffix for suffix in suffixes.get(kind, [""])}
            if is_gateway:
                public = await prometheus.get(f"{each['url']}/metrics")
                assert public.status_code == 404

    asked = set().union(*(names(query).metrics for query in QUERIES.values()))
    wanted = {each for each in asked if each.startswith(("thoughtflow_", "process_"))}
    assert len(wanted) > 20
    assert wanted <= told
