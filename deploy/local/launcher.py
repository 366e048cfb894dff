"""The order in which the stack starts and stops."""

import asyncio
import subprocess
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any

from deploy.local.forks import ForkServer
from deploy.local.process import Command, Process, kill, spawn
from deploy.local.run_file import RunFile
from deploy.local.server import Server, listens
from deploy.local.stack import Stack, is_healthy, speaks_http
from deploy.local.supervisor import Child, StartError, exit_code, last_lines
from deploy.local.terminal import progress


class Launcher:
    """One run of a stack."""

    def __init__(self, stack: Stack, run_file: RunFile) -> None:
        self._stack = stack
        self._run_file = run_file
        self._forks = ForkServer(stack.fork_server(), run_file)
        self._servers: list[Child] = []
        self._emulators: list[Child] = []
        self._services: list[Child] = []

    async def start(self) -> None:
        """Start everything and return when all of it is ready.

        Raises:
            StartError: a process or a migration fails; what was started still runs.
            ServerError: a server cannot be set up.
        """
        await _all(
            self._start_rabbitmq(),  # the slowest, so it is the first
            self._start_database(),
            self._start_valkey(),
            self._start_emulators(),
        )
        started = time.monotonic()
        self._services = [self._child(command, is_healthy) for command in self._stack.services()]
        for child in self._services:
            child.start()
        await _all(*(self._await(child, started) for child in self._services))

    async def stop(self) -> None:
        """Stop everything: the services, then what they use."""
        await self._stop_group("services", self._services)
        await self._stop_group("emulators and servers", [*self._emulators, *self._servers])
        self._forks.stop()

    def kill(self) -> None:
        """Kill everything at once."""
        for child in [*self._services, *self._emulators, *self._servers]:
            child.kill()

    async def settle(self) -> None:
        """Have RabbitMQ write the names of its new queues to disk, which it does late by itself."""
        try:
            await asyncio.to_thread(self._stack.rabbitmq.sync_queue_names)
        except subprocess.SubprocessError:
            # It was stopped meanwhile; RabbitMQ does the same by itself, a few seconds later.
            return

    async def _stop_group(self, what: str, group: list[Child]) -> None:
        if group:
            started = time.monotonic()
            await asyncio.gather(*(child.stop() for child in group))
            progress("stopped", what, time.monotonic() - started)

    async def _start_server(self, server: Server) -> None:
        started = time.monotonic()
        await asyncio.to_thread(server.prepare)
        *side, main = server.commands()
        for command in side:
            child = self._child_of(self._servers, command, partial(listens, command.port))
            child.start()
            await child.ready()
        child = self._child_of(self._servers, main, server.is_ready)
        child.start()
        await self._await(child, started)

    async def _start_rabbitmq(self) -> None:
        await self._start_server(self._stack.rabbitmq)
        await self._run(self._stack.broker_accounts())

    async def _start_valkey(self) -> None:
        await self._start_server(self._stack.valkey)

    async def _start_database(self) -> None:
        await self._start_server(self._stack.postgres)
        started = time.monotonic()
        await self._run(self._stack.database_accounts())
        await _all(*(self._run(command) for command in self._stack.migrations()))
        progress("database", "roles, schemas and migrations", time.monotonic() - started)

    async def _start_emulators(self) -> None:
        started = time.monotonic()
        self._emulators = [self._child(command, speaks_http) for command in self._stack.emulators()]
        for child in self._emulators:
            child.start()
        await _all(*(self._await(child, started) for child in self._emulators))

    async def _await(self, child: Child, started: float) -> None:
        await child.ready()
        where = f"{child.command.what} on 127.0.0.1:{child.command.port}"
        progress(child.command.name, where, time.monotonic() - started)

    def _child(self, command: Command, probe: Callable[[int], bool]) -> Child:
        return Child(command, self._forks.start, partial(probe, command.port), self._run_file)

    def _child_of(self, group: list[Child], command: Command, probe: Callable[[], bool]) -> Child:
        command = replace(command, log=self._stack.log(command.name))
        child = Child(command, _spawn, probe, self._run_file)
        group.append(child)
        return child

    async def _run(self, command: Command) -> None:
        """Run a program that comes to an end: of accounts, of migrations.

        Raises:
            StartError: it failed.
            ServerError: it could not be started.
        """
        command.log.unlink(missing_ok=True)
        process = await self._forks.start(command)
        try:
            code = await exit_code(process)
        finally:
            kill(process)
        if code:
            raise StartError(
                f"{command.name} failed, see {command.log}:\n{last_lines(command, 12)}"
            )


async def _all(*steps: Coroutine[Any, Any, None]) -> None:
    """Run steps at the same time; the first failure cancels the others and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(step)
    except ExceptionGroup as failures:  # not `except*`, which would wrap it again
        raise failures.exceptions[0] from None


async def _spawn(command: Command) -> Process:
    return spawn(command)
