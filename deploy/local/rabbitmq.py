"""RabbitMQ as a private server: own folder, own node, own ports, 127.0.0.1 only."""

import secrets
import subprocess
from pathlib import Path

from typing_extensions import override

from deploy.local.ports import RabbitMQPorts
from deploy.local.process import Command
from deploy.local.server import PATH, Server, ServerError, answers, write_private

RABBITMQ = Path("/usr/lib/rabbitmq/bin")  # Debian's /usr/sbin wrappers insist on the user rabbitmq


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
            # Erlang makes tables for so many at once: a fifteenth of RabbitMQ's own, 10 MB less.
            "RABBITMQ_MAX_NUMBER_OF_PROCESSES": "65536",
            "RABBITMQ_DIST_PORT": str(ports.dist),
            "RABBITMQ_CTL_DIST_PORT_MIN": str(ports.dist + 5),
            "RABBITMQ_CTL_DIST_PORT_MAX": str(ports.dist + 25),
            "ERL_EPMD_PORT": str(ports.epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_AFLAGS": "-start_epmd false",  # a port mapper of theirs would outlive us
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1}"
                " +sbwt none +sbwtdcpu none +sbwtdio none"  # no spinning while idle
                # Each thread has heaps of its own: two for each core, and ten for files, are many
                # for one developer, and one scheduler delivers their messages. What is freed goes
                # back at once.
                " +S 1:1 +SDcpu 1:1 +SDio 2 +Mea min"
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
