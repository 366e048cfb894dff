import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, FieldValue

from deploy.local.dead_letters import parse, perform
from deploy.local.tests.burial import WORK, Command
from libs.common.broker import make_brokers
from libs.common.topology import DEAD, DEAD_LETTERS, declare


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder that uid 65534 may pass through, which pytest's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="thoughtflow-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
async def channel(rabbitmq_url: str) -> AsyncIterator[AbstractChannel]:
    """A channel to a broker with the topology and no dead letters."""
    brokers = make_brokers(rabbitmq_url, service="billing", prefetch=1)
    await brokers.publish.start()
    await declare(brokers.publish)
    async with await aio_pika.connect(rabbitmq_url) as connection:
        channel = await connection.channel()
        for name in (DEAD_LETTERS.name, WORK):
            await (await channel.get_queue(name)).purge()
        yield channel
    await brokers.publish.stop()


@pytest.fixture
async def limited(channel: AbstractChannel) -> AsyncIterator[AbstractChannel]:
    """The queue as RabbitMQ 4 makes it without a limit: gone after 20 returns."""
    await channel.queue_delete(DEAD_LETTERS.name)
    arguments: dict[str, FieldValue] = {"x-queue-type": "quorum", "x-delivery-limit": 20}
    made = await channel.declare_queue(DEAD_LETTERS.name, durable=True, arguments=arguments)
    await made.bind(DEAD.name)
    yield channel
    await channel.queue_delete(DEAD_LETTERS.name)
    usual = await channel.declare_queue(
        DEAD_LETTERS.name,
        durable=True,
        arguments={"x-queue-type": "quorum", **(DEAD_LETTERS.arguments or {})},
    )
    await usual.bind(DEAD.name)


@pytest.fixture
def command(rabbitmq_url: str, capsys: pytest.CaptureFixture[str]) -> Command:
    async def run(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        code = await perform(parse(arguments), rabbitmq_url)
        return code, capsys.readouterr().out

    return run
