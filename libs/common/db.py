"""The PostgreSQL pool: one schema per service, set once as the connection's search_path."""

from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
from typing_extensions import override

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
else:
    Pool = asyncpg.Pool
    Connection = asyncpg.Connection

COMMAND_TIMEOUT_S = 10.0
"""Seconds that a statement may take; `libs.common.cache` relies on writers being done by then."""

ACQUIRE_TIMEOUT_S = 5.0
"""Seconds to wait for a free connection, or a new one; then the caller is told to come back."""

UNUSED_S = 30.0
"""Seconds after which a connection that nobody uses is closed: PostgreSQL keeps 3 MB for each, and
a burst would leave every process with all that it may open."""

MOST_IDLE_S = 15
"""Seconds after which PostgreSQL rolls back a transaction that asks nothing: a process that froze
in the middle of one would keep its locks from all others."""

OUTAGES = (
    OSError,  # refused, reset, timed out
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,  # starting up or in recovery
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,  # we were frozen
    asyncpg.InterfaceError,  # the pool's connection died between two statements
    asyncpg.InternalClientError,  # the server has said goodbye and not hung up yet
    asyncpg.TooManyConnectionsError,
)
"""What asyncpg raises while the server is away; the same statement succeeds once it is back."""


class _BoundedPool(Pool):
    @override
    def acquire(self, *, timeout: float | None = ACQUIRE_TIMEOUT_S) -> Any:
        return super().acquire(timeout=timeout)


async def _leave_as_it_is(conn: Connection) -> None:
    """Reset nothing; asyncpg has rolled back."""


async def open_pool(dsn: str, *, schema: str, max_size: int = 10) -> Pool:
    """Open a pool whose connections see only `schema`; it raises TimeoutError while it is empty.

    A connection comes back as it was left, but for an open transaction, which is rolled back: do
    not SET, LISTEN or lock for longer than a transaction. Cleaning up after that would cost each
    use a round trip.

    Args:
        dsn: `postgresql://` URL of the service's own role.
        schema: the service's schema; unqualified table names resolve there.
        max_size: connections at most; 10 suits one worker process.

    Raises:
        OSError, asyncpg.PostgresError: the server cannot be reached or refused us.
    """
    # What asyncpg.create_pool does, but for the class.
    return await _BoundedPool(
        dsn,
        min_size=1,
        max_size=max_size,
        max_queries=50_000,
        max_inactive_connection_lifetime=UNUSED_S,
        loop=None,
        connection_class=asyncpg.Connection,
        record_class=asyncpg.Record,
        timeout=ACQUIRE_TIMEOUT_S,
        reset=_leave_as_it_is,
        command_timeout=COMMAND_TIMEOUT_S,
        server_settings={
            "search_path": schema,
            "application_name": f"thoughtflow.{schema}",
            "idle_in_transaction_session_timeout": f"{MOST_IDLE_S}s",
        },
    )
