"""pgbench with the statement of a post: what PostgreSQL can take from a client in C."""

import asyncio
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from bench.measures import Tally, VoidError
from bench.people import USERS

# The arguments and columns of services.chat.store.post_message; ids are made by the server.
_SCRIPT = r"""
\set room :first + :client_id + :done * :clients
\set user :room % :users
\set done :done + 1
SELECT outcome, message_id, reply_id, parent_id, created_at, last_id, plan, tokens, limits, used,
    announced
FROM post_message(
    ('00000000-0000-7000-8000-' || lpad(:user, 12, '0'))::uuid,
    ('00000000-0000-7000-8000-' || lpad(:room, 12, '0'))::uuid,
    uuidv7(), uuidv7(), ARRAY[uuidv7(), uuidv7(), uuidv7()], 'A message of the benchmark',
    NULL, NULL, NULL, NULL, now(),
    ARRAY[20, NULL, NULL, NULL, NULL]::bigint[], '{}', 12000, 4096, NULL
);
"""
_TPS = re.compile(r"^tps = ([0-9.]+) \(without initial connection time\)", re.MULTILINE)
_DONE = re.compile(r"^number of transactions actually processed: ([0-9]+)/", re.MULTILINE)


async def post(program: Path, database_url: str, *, rooms: range, connections: int) -> Tally:
    """Post once in each room and return how fast that was.

    Args:
        program: pgbench.
        database_url: of chat's role.
        rooms: as many that each connection gets the same number of them.
        connections: all from one thread, as those of a service.

    Raises:
        VoidError: pgbench failed or did less than it should.
    """
    place = urlsplit(database_url)
    numbers = {"first": rooms.start, "clients": connections, "users": USERS, "done": 0}
    process = await asyncio.create_subprocess_exec(
        str(program),
        *("-n", "-M", "prepared", "-f", "-", "-c", str(connections), "-j", "1"),
        *("-t", str(len(rooms) // connections)),
        *(f"-D{name}={number}" for name, number in numbers.items()),
        *("-h", "127.0.0.1", "-p", str(place.port), "-U", str(place.username)),
        place.path.strip("/"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "PGPASSWORD": str(place.password)},
    )
    output, errors = await process.communicate(_SCRIPT.encode())
    told, done = _TPS.search(output.decode()), _DONE.search(output.decode())
    if process.returncode or not told or not done or int(done[1]) != len(rooms):
        raise VoidError(f"pgbench failed: {errors.decode()[-300:]}")
    return Tally(len(rooms), len(rooms) / float(told[1]))
