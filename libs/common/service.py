"""`python -m services.<name> [serve|migrate|check|...]`: how every service starts."""

import asyncio
import gc
import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
from starlette.types import ASGIApp

from libs.common import checks
from libs.common.checks import Findings
from libs.common.migrate import migrate
from libs.common.server import Server
from libs.common.settings import BaseServiceSettings, CommonSettings, SettingsT, load
from libs.common.telemetry import configure_logging, export_spans

GARBAGE_THRESHOLD = 20_000
"""Containers made, less those freed, before Python looks for cycles among them. Its own 700 is
reached every few requests, and few of ours are in cycles."""

STARTUP_FAILED = 3
"""Exit status of a process whose servers or port could not be had; uvicorn's own."""


def main(
    name: str,
    settings_class: type[SettingsT],
    create_app: Callable[[SettingsT], ASGIApp],
    commands: Mapping[str, Callable[..., Awaitable[str]]] | None = None,
    more_checks: Callable[[SettingsT], Findings] | None = None,
    **options: Any,
) -> None:
    """Serve, or with the argument `migrate` bring the service's schema up to date, or obey another.

    `check` tells whether all that the service needs is there, with 1 where it is not. Exits with 2
    where a setting is missing or malformed, or an argument is unknown.

    Args:
        name: of the service.
        settings_class: what it reads from its environment.
        create_app: makes its app.
        commands: what else it can be told to do; each takes the settings, and an argument for each
            further parameter, and returns a line for people.
        more_checks: of `check`, besides those of every service.
        options: of uvicorn, besides those of every service.
    """
    command, *arguments = sys.argv[1:] or ["serve"]
    commands = commands or {}
    own = ("serve", "migrate", "check")
    wanted = {**{each: [] for each in own}, **{each: _wanted(commands[each]) for each in commands}}
    if command not in wanted or len(arguments) != len(wanted[command]):
        known = "|".join(" ".join([each, *wanted[each]]) for each in wanted)
        print(f"usage: python -m services.{name} [{known}]", file=sys.stderr)  # noqa: T201
        raise SystemExit(2)
    settings = load(settings_class)
    configure_logging(name, settings.log_level)
    if command == "serve":
        if settings.otel_exporter_otlp_endpoint:
            export_spans(name, settings.otel_exporter_otlp_endpoint)
        serve(create_app(settings), settings, **options)
    elif command == "check":
        raise SystemExit(checks.run(name, settings, more_checks))
    elif command in commands:
        print(asyncio.run(_obey(commands[command](settings, *arguments))))  # noqa: T201
    elif isinstance(settings, CommonSettings):
        asyncio.run(_migrate(name, settings.database_url))


def serve(app: ASGIApp, settings: BaseServiceSettings, **options: Any) -> None:
    """Serve `app` until SIGTERM or SIGINT."""
    gc.freeze()  # what is imported stays
    gc.set_threshold(GARBAGE_THRESHOLD, 10, 10)
    server = Server(
        app, host=settings.host, port=settings.port, loop="uvloop", lifespan="on", **options
    )
    with suppress(KeyboardInterrupt):  # uvicorn raises it again after a graceful end
        server.run()
    if not server.started:
        raise SystemExit(STARTUP_FAILED)


def _wanted(command: Callable[..., Any]) -> list[str]:
    """Return what to call the arguments of a command: its parameters but for the settings."""
    return [parameter.upper() for parameter in list(inspect.signature(command).parameters)[1:]]


async def _obey(command: Awaitable[str]) -> str:
    return await command


async def _migrate(name: str, database_url: str) -> None:
    conn = await asyncpg.connect(database_url)
    try:
        applied = await migrate(conn, schema=name, own=Path("services") / name / "migrations")
    finally:
        await conn.close()
    print(f"{name}: " + (", ".join(applied) or "up to date"))  # noqa: T201
