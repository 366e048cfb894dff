from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import stripe

from deploy.local.stripe.tests.running import Emulator, Receiver

Start = Callable[..., Emulator]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts emulators that end with the module's tests."""
    started: list[Emulator] = []

    def run(state: Path | None = None, webhook_url: str | None = None) -> Emulator:
        log = tmp_path_factory.mktemp("emulator") / "log"
        emulator = Emulator(log=log, state=state, webhook_url=webhook_url)
        started.append(emulator)
        emulator.wait_ready()
        return emulator

    yield run
    for emulator in started:
        emulator.kill()


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """Our side of the webhooks."""
    with Receiver() as running:
        yield running


@pytest.fixture(scope="module")
def emulator(start: Start, receiver: Receiver) -> Emulator:
    """One that all tests of a module share; its webhooks go to `receiver`."""
    return start(webhook_url=receiver.url)


@pytest.fixture(scope="module")
def sdk(emulator: Emulator) -> stripe.StripeClient:
    return emulator.sdk()


@pytest.fixture
async def async_sdk(emulator: Emulator) -> AsyncIterator[stripe.StripeClient]:
    async with emulator.async_sdk() as client:
        yield client
