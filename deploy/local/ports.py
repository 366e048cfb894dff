"""TCP ports of 127.0.0.1 that nobody uses."""

import socket
from collections.abc import Container
from dataclasses import dataclass
from typing import Self

# Above lies the range that the kernel hands out to clients: a server that is down for a moment
# could find its port taken by somebody's connection, or a client that retries could connect to
# itself.
LAST = 32767


def is_free(port: int) -> bool:
    """Return whether a server could listen on the port now."""
    with socket.socket() as probe:
        # Like the servers themselves, so that connections of the last run do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def next_free(first: int, *, taken: Container[int] = ()) -> int:
    """Return the first port from `first` on that is free and not in `taken`.

    Raises:
        RuntimeError: there is none up to 32767.
    """
    for port in range(first, LAST + 1):
        if port not in taken and is_free(port):
            return port
    raise RuntimeError(f"no free port between {first} and {LAST}: stop a server or start lower")


@dataclass(frozen=True)
class RabbitMQPorts:
    """Ports of one node.

    Attributes:
        amqp: clients.
        management: HTTP API and UI; none leaves the plugin out, which also makes a stop faster (1
            s, not 6).
        epmd: the node's own port mapper.
        dist: Erlang distribution; `rabbitmqctl` uses `dist + 5` to `dist + 25`.
    """

    amqp: int
    management: int | None
    epmd: int
    dist: int

    @classmethod
    def following(cls, amqp: int, *, management: bool = True) -> Self:
        """Return the ports that follow `amqp`: a block of 30."""
        return cls(amqp, amqp + 1 if management else None, amqp + 2, amqp + 3)
