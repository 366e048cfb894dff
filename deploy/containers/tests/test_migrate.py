"""`migrate` on a real PostgreSQL and a RabbitMQ with its management API."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import asyncpg
import pytest

from conftest import PASSWORD
from deploy.containers.migrate import update
from deploy.local.config import SERVICES
from deploy.local.ports import RabbitMQPorts
from deploy.local.rabbitmq import RabbitMQ
from deploy.local.server import ServerError
from deploy.local.stack import WITH_DATABASE
from tests.ports import free_port

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[RabbitMQ]:
    base = Path(tempfile.mkdtemp(prefix="thoughtflow-test-"))
    base.chmod(0o755)
    ports = RabbitMQPorts.following(free_port(30))
    server = RabbitMQ(base / "rabbitmq", ports=ports, password=PASSWORD)
    with server:
        yield server
        server.kill()
    shutil.rmtree(base)


@pytest.fixture
def environment(postgres_url: str, rabbitmq: RabbitMQ) -> dict[str, str]:
    return {
        "ADMIN_DATABASE_URL": postgres_url,
        "MANAGEMENT_URL": rabbitmq.management_url,
        "RABBITMQ_PASSWORD": PASSWORD,
        **{f"{service.upper()}_PASSWORD": PASSWORD for service in SERVICES},
    }


async def test_every_service_can_log_in_to_its_schema_and_to_the_broker(
    environment: dict[str, str], postgres_url: str, rabbitmq: RabbitMQ
) -> None:
    await update(environment)

    place = postgres_url.partition("@")[2].partition("/")[0]
    for service in WITH_DATABASE:
        conn = await asyncpg.connect(f"postgresql://{service}:{PASSWORD}@{place}/thoughtflow")
        assert await conn.fetchval("SELECT count(*) FROM outbox") is not None
        await conn.close()
    for service in SERVICES:
        url = rabbitmq.url.replace("//thoughtflow:", f"//{service}:")
        async with await aio_pika.connect(url) as connection:
            await connection.channel()


async def test_a_second_run_applies_nothing(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    await update(environment)
    capsys.readouterr()

    await update(environment)

    assert capsys.readouterr().out.splitlines() == [f"{name}: up to date" for name in WITH_DATABASE]


async def test_a_wrong_password_of_the_administrator_is_told(environment: dict[str, str]) -> None:
    with pytest.raises(ServerError, match="management API answered 401"):
        await update(environment | {"RABBITMQ_PASSWORD": "another"})
