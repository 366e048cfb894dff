"""Every shared fixture: servers for a session, a migrated database, an emptied schema for a test.

Servers come from `TEST_*_URL` where set, else from testcontainers where a container engine answers,
else they are private ones of this session, from the wheels and packages that `make run` uses.
`TEST_SERVERS=containers` or `private` insists on one of them.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis

from deploy.local.accounts import set_up_database
from deploy.local.ports import RabbitMQPorts
from deploy.local.rabbitmq import RabbitMQ
from deploy.local.servers import Postgres, Valkey
from libs.common.db import Connection
from tests.ports import free_port

pytest_plugins = ("tests.leaks",)
ROOT = Path(__file__).parent
SCHEMAS = ("auth", "chat", "ai", "billing")
PASSWORD = "only-for-tests-0123456789"
POSTGRES_IMAGE = os.environ.get("TEST_POSTGRES_IMAGE", "postgres:17-alpine")
RABBITMQ_IMAGE = os.environ.get("TEST_RABBITMQ_IMAGE", "rabbitmq:4-management")
VALKEY_IMAGE = os.environ.get("TEST_VALKEY_IMAGE", "valkey/valkey:8-alpine")
CONTAINERS = pytest.StashKey[list[str]]()
"""Images that this session's servers come from."""


def _containers_wanted() -> bool:
    if wanted := os.environ.get("TEST_SERVERS"):
        return wanted == "containers"
    docker = shutil.which("docker")
    if docker is None:
        return False
    return subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0


class Servers:
    """URLs of the session's servers; `close` ends what was started for it."""

    def __init__(self) -> None:
        self.postgres = os.environ.get("TEST_POSTGRES_URL", "")
        self.rabbitmq = os.environ.get("TEST_RABBITMQ_URL", "")
        self.redis = os.environ.get("TEST_REDIS_URL", "")
        self._base = Path(tempfile.mkdtemp(prefix="thoughtflow-test-"))
        self._base.chmod(0o755)  # PostgreSQL runs as another user where we are root
        self._stops: list[object] = []
        self.containers: list[str] = []
        if not (self.postgres and self.rabbitmq and self.redis):
            self._start_containers() if _containers_wanted() else self._start_private()

    def _start_private(self) -> None:
        postgres = Postgres(
            self._base / "postgres", port=free_port(), password=PASSWORD, durable=False
        )
        valkey = Valkey(self._base / "valkey", port=free_port(), password=PASSWORD, durable=False)
        ports = RabbitMQPorts.following(free_port(30), management=False)
        rabbitmq = RabbitMQ(self._base / "rabbitmq", ports=ports, password=PASSWORD)
        servers = [
            (server, name)
            for server, name in ((rabbitmq, "rabbitmq"), (postgres, "postgres"), (valkey, "redis"))
            if not getattr(self, name)
        ]
        for server, _ in servers:
            server.start()
        for server, name in servers:
            server.wait_ready()
            setattr(self, name, server.url)
            self._stops.append(server.kill)

    def _start_containers(self) -> None:
        from testcontainers.community.postgres import PostgresContainer  # noqa: PLC0415
        from testcontainers.community.redis import RedisContainer  # noqa: PLC0415
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415
        from testcontainers.core.wait_strategies import LogMessageWaitStrategy  # noqa: PLC0415

        unsafe = "postgres -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
        postgres = PostgresContainer(POSTGRES_IMAGE, driver=None).with_command(unsafe)
        # Not RabbitMqContainer, which wants a client library of its own.
        rabbitmq = (
            DockerContainer(RABBITMQ_IMAGE)
            .with_env("RABBITMQ_DEFAULT_USER", "thoughtflow")
            .with_env("RABBITMQ_DEFAULT_PASS", PASSWORD)
            .with_exposed_ports(5672)
            .waiting_for(LogMessageWaitStrategy("Server startup complete"))
        )
        redis = RedisContainer(VALKEY_IMAGE)
        with ThreadPoolExecutor() as threads:
            list(threads.map(lambda container: container.start(), (postgres, rabbitmq, redis)))
        self._stops += [postgres.stop, rabbitmq.stop, redis.stop]
        self.containers = [each.image for each in (postgres, rabbitmq, redis)]
        self.postgres = self.postgres or postgres.get_connection_url()
        host, port = rabbitmq.get_container_host_ip(), rabbitmq.get_exposed_port(5672)
        self.rabbitmq = self.rabbitmq or f"amqp://thoughtflow:{PASSWORD}@{host}:{port}/"
        host, port = redis.get_container_host_ip(), redis.get_exposed_port(6379)
        self.redis = self.redis or f"redis://{host}:{port}/0"

    def close(self) -> None:
        for stop in self._stops:
            stop()  # type: ignore[operator]
        shutil.rmtree(self._base, ignore_errors=True)


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    started = Servers()
    request.config.stash[CONTAINERS] = started.containers
    yield started
    started.close()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if images := config.stash.get(CONTAINERS, []):
        ran = len(terminalreporter.getreports("passed"))
        terminalreporter.write_line(f"{ran} passed on testcontainers: {', '.join(images)}")


@pytest.fixture(scope="session")
def postgres_url(servers: Servers) -> str:
    return servers.postgres


@pytest.fixture(scope="session")
def rabbitmq_url(servers: Servers) -> str:
    return servers.rabbitmq


@pytest.fixture(scope="session")
def redis_url(servers: Servers) -> str:
    return servers.redis


@pytest.fixture(scope="session")
async def database_urls(postgres_url: str) -> dict[str, str]:
    """URL of each service's own role, in a database with every schema migrated."""
    await set_up_database(postgres_url, dict.fromkeys(SCHEMAS, PASSWORD))
    place = postgres_url.partition("@")[2].partition("/")[0]
    urls = {name: f"postgresql://{name}:{PASSWORD}@{place}/thoughtflow" for name in SCHEMAS}
    for name, url in urls.items():
        environment = {"DATABASE_URL": url, "PATH": os.environ["PATH"]} | UNUSED_SETTINGS
        subprocess.run(
            [sys.executable, "-m", f"services.{name}", "migrate"],
            cwd=ROOT,
            env=environment,
            check=True,
            capture_output=True,
        )
    return urls


UNUSED_SETTINGS = {
    "ENVIRONMENT": "development",
    "RABBITMQ_URL": "amqp://unused",
    "REDIS_URL": "redis://unused",
    "JWKS_URL": "http://unused",
    "AUTH_SECRET": PASSWORD,
    "OTP_SENDER": "mock",
    "GEMINI_API_KEY": PASSWORD,
    "STRIPE_SECRET_KEY": "sk_test_unused",
    "STRIPE_WEBHOOK_SECRET": PASSWORD,
    "STRIPE_PRO_PRICE_ID": "price_unused",
    "PUBLIC_URL": "http://unused",
}
"""What `migrate` does not use; the settings are checked all the same."""


@pytest.fixture
def schema(request: pytest.FixtureRequest) -> str:
    """The schema of the service under test: `services/<schema>/tests/...`."""
    parts = request.path.relative_to(ROOT).parts
    return parts[1] if parts[0] == "services" else "chat"


@pytest.fixture
async def conn(database_urls: dict[str, str], schema: str) -> AsyncIterator[Connection]:
    """A connection to the emptied schema of the service under test."""
    connection = await asyncpg.connect(database_urls[schema])
    tables = await connection.fetchval(
        "SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables"
        " WHERE schemaname = $1 AND tablename <> 'schema_migration'",
        schema,
    )
    await connection.execute(f"TRUNCATE {tables} RESTART IDENTITY CASCADE")
    yield connection
    await connection.close()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """The session's Valkey, emptied."""
    client = Redis.from_url(redis_url)
    await client.flushall()
    yield client
    await client.aclose()
