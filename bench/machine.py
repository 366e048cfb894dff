"""What a run was measured on: enough to compare two runs, nothing that names the machine."""

import asyncio
import os
import platform
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import aio_pika
import asyncpg
from redis.asyncio import Redis

from bench.system import System
from deploy.local.config import ROOT


def describe() -> dict[str, Any]:
    """Return processor, kernel, Python, commit and time."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": _said("git", "rev-parse", "--short", "HEAD"),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


async def versions(system: System) -> dict[str, str]:
    """Return the version of each server that runs, and of nginx."""
    found = {}
    if system.runs("postgres"):
        conn: asyncpg.Connection[asyncpg.Record] = await system.connect()
        found["postgres"] = str(await conn.fetchval("SHOW server_version"))
        await conn.close()
    if system.runs("valkey"):
        redis: Redis = Redis.from_url(system.stack.valkey.url)
        found["valkey"] = str((await redis.info("server"))["valkey_version"])
        await redis.aclose()
    if system.runs("rabbitmq"):
        found["rabbitmq"] = await _rabbitmq_version(system)
    if system.runs("nginx"):
        found["nginx"] = (await asyncio.to_thread(_said, "nginx", "-v")).rpartition("/")[2]
    return found


async def _rabbitmq_version(system: System) -> str:
    async with await aio_pika.connect(system.stack.rabbitmq.url) as connection:
        properties: Any = connection.transport
        return str(properties.connection.server_properties["version"])


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _said(program: str, *arguments: str) -> str:
    """Return the one line that a program says; empty where it is not there or fails."""
    path = shutil.which(program)
    if path is None:
        return ""
    done = subprocess.run(  # noqa: S603 - our own words
        [path, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return (done.stdout or done.stderr).strip() if done.returncode == 0 else ""
