import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest
import stripe

from deploy.local.stripe.tests.conftest import Start
from deploy.local.stripe.tests.running import SDK_WARNING, Receiver, eventually, subscribe

pytestmark = SDK_WARNING


def test_a_killed_emulator_goes_on_where_it_was(start: Start, tmp_path: Path) -> None:
    first = start(state=tmp_path / "state.db")
    first.advance(days=3)
    subscription = subscribe(first)
    customer = first.sdk().v1.customers.create({"name": "Ada"}, {"idempotency_key": "k"})
    first.kill()

    second = start(state=tmp_path / "state.db")

    sdk = second.sdk()
    assert sdk.v1.subscriptions.retrieve(subscription.id).status == "active"
    assert sdk.v1.customers.create({"name": "Ada"}, {"idempotency_key": "k"}).id == customer.id
    assert second.control("GET", "/clock")["offset_s"] == 3 * 86_400


def test_events_that_were_not_delivered_before_a_kill_are_delivered_after_it(
    start: Start, tmp_path: Path, receiver: Receiver
) -> None:
    first = start(state=tmp_path / "state.db", webhook_url="http://127.0.0.1:9/nobody")
    subscription = subscribe(first)
    first.control("POST", "/webhooks", {"mode": "hold"})
    first.sdk().v1.subscriptions.cancel(subscription.id)
    before = {event.id for event in first.sdk().v1.events.list({"limit": 100}).data}
    first.kill()

    second = start(state=tmp_path / "state.db", webhook_url=receiver.url)

    eventually(lambda: "checkout.session.completed" in receiver.types(subscription.id))
    assert "customer.subscription.deleted" not in receiver.types(subscription.id)
    second.control("POST", "/webhooks/release")
    eventually(lambda: "customer.subscription.deleted" in receiver.types(subscription.id))
    assert {event["id"] for event in receiver.events(subscription.id)} <= before


def test_without_a_state_file_nothing_is_kept(start: Start) -> None:
    customer = start().sdk().v1.customers.create({"name": "Ada"}).id

    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        start().sdk().v1.customers.retrieve(customer)


@pytest.mark.parametrize("busy", [False, True])
def test_sigterm_ends_it_within_a_second(start: Start, busy: bool) -> None:
    emulator = start()
    headers = {"authorization": "Bearer sk_test_1"}
    hanging = None
    if busy:
        emulator.control("POST", "/faults", {"status": "hang"})
        code = f"import httpx2; httpx2.get('{emulator.url}/v1/prices', headers={headers})"
        hanging = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
        eventually(lambda: emulator.control("GET", "/faults")["hanging"] == 1)
    with httpx2.Client() as client:  # an idle connection that was kept open
        client.get(f"{emulator.url}/v1/prices", headers=headers)
        began = time.monotonic()

        os.kill(emulator.process.pid, signal.SIGTERM)

        emulator.process.wait(timeout=5)
        assert time.monotonic() - began < 1
    if hanging is not None:
        hanging.wait(timeout=5)


def test_a_webhook_without_a_secret_is_refused_at_start() -> None:
    command = [sys.executable, "-m", "deploy.local.stripe", "--port", "21199"]
    command += ["--webhook-url", "http://127.0.0.1:9/"]

    result = subprocess.run(
        command,
        env={**os.environ, "STRIPE_WEBHOOK_SECRET": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )

    assert result.returncode == 2
    assert "needs STRIPE_WEBHOOK_SECRET" in result.stderr


def test_the_emulator_does_not_load_the_sdk() -> None:
    code = "import sys, deploy.local.stripe.app; sys.exit('stripe' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=20).returncode == 0
