"""`make backup` and `make restore FILE=...`: the data of a home in one file, and back again.

docs/operations/backup.md tells what is in it and what is not.
"""

import argparse
import asyncio
import os
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from deploy.local import home
from deploy.local.accounts import DATABASE, set_up_database
from deploy.local.config import Config, ConfigError, current_config
from deploy.local.passwords import Passwords
from deploy.local.port_plan import plan_ports
from deploy.local.run_file import read_run_file
from deploy.local.server import ServerError, write_private
from deploy.local.servers import Postgres
from deploy.local.stack import Programs, Stack
from deploy.local.terminal import say
from libs.common.clock import utc_now

DUMP, SECRETS, STRIPE = "database.dump", "secrets.json", "stripe.db"
PARTS = {DUMP, SECRETS}
"""What every backup has; the emulated Stripe's state is in it where there is one."""


class BackupError(RuntimeError):
    """It cannot be done; the message says what to do."""


def back_up(config: Config) -> Path:
    """Write all data of the running stack to a new file, and return its path.

    Services go on meanwhile: the database is read as it is at one moment.

    Raises:
        BackupError: nothing runs.
        ServerError: PostgreSQL does not give its data.
    """
    content = read_run_file(home.run_path(config.home))
    if content is None or home.launcher(config.home) is None:
        raise BackupError(f"Nothing runs in {config.home}. Start it: make run")
    postgres = _postgres(config, urlsplit(content["urls"]["postgres"]).port or 0)
    folder = config.home / "backups"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"thoughtflow-{utc_now():%Y%m%dT%H%M%SZ}.tar"
    partial = path.with_suffix(".new")
    write_private(partial, "")  # it holds every secret, so nobody else may look at it
    with tempfile.TemporaryDirectory(dir=folder) as scratch, tarfile.open(partial, "w") as archive:
        dump = Path(scratch) / DUMP
        _run(postgres, content["urls"]["postgres"], "pg_dump", "--format=custom", f"--file={dump}")
        archive.add(dump, DUMP)
        archive.add(config.home / "secrets.json", SECRETS)
        if (state := _stripe(config.home)).exists():
            copy = Path(scratch) / STRIPE
            with (
                closing(sqlite3.connect(state)) as source,
                closing(sqlite3.connect(copy)) as target,
            ):
                source.backup(target)
            archive.add(copy, STRIPE)
    partial.rename(path)
    return path


async def restore(config: Config, file: Path) -> None:
    """Fill an empty home from a backup; `make run` then goes on with it.

    Raises:
        BackupError: the home runs or has data, or the file is no whole backup; nothing was changed.
        ServerError: PostgreSQL does not take the data; the home was emptied again.
    """
    with _opened(file) as archive:
        parts = _parts(archive, file)
        lock = home.take_home(config)
        try:
            if (config.home / "secrets.json").exists():
                raise BackupError(
                    f"There is data in {config.home}. Delete it (make reset), or restore into "
                    "another place: make restore THOUGHTFLOW_HOME=... FILE=..."
                )
            try:
                await _fill(config, parts)
            except BaseException:
                home.empty(config.home)
                raise
        finally:
            lock.close()


async def _fill(config: Config, parts: Mapping[str, bytes]) -> None:
    write_private(config.home / "secrets.json", parts[SECRETS].decode())
    if STRIPE in parts:
        _stripe(config.home).parent.mkdir()
        _stripe(config.home).write_bytes(parts[STRIPE])
    ports, _ = plan_ports(config)
    stack = Stack(config, ports, Passwords(config.home), Programs())
    with tempfile.TemporaryDirectory() as scratch, stack.postgres as postgres:
        dump = Path(scratch) / DUMP
        dump.write_bytes(parts[DUMP])
        await set_up_database(postgres.url, stack.database_passwords())  # the roles that own it all
        options = ("--clean", "--if-exists", "--single-transaction", "--exit-on-error", str(dump))
        url = stack.urls()["postgres"]
        await asyncio.to_thread(_run, postgres, url, "pg_restore", f"--dbname={DATABASE}", *options)


def _opened(file: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(file)
    except FileNotFoundError:
        raise BackupError(f"There is no {file}.") from None
    except tarfile.TarError as problem:
        raise BackupError(f"{file} is no backup ({problem}).") from problem


def _parts(archive: tarfile.TarFile, file: Path) -> dict[str, bytes]:
    """Return the content by name; read here, so that no path in the archive is ever written to."""
    parts = {}
    try:
        for member in archive:
            if member.name in {*PARTS, STRIPE} and (content := archive.extractfile(member)):
                parts[member.name] = content.read()
    except tarfile.TarError as problem:
        raise BackupError(f"{file} is not whole ({problem}).") from problem
    if missing := PARTS - parts.keys():
        raise BackupError(f"{file} is no whole backup: no {', '.join(sorted(missing))} in it.")
    return parts


def _postgres(config: Config, port: int) -> Postgres:
    return Postgres(config.home / "postgres", port=port, password="")


def _stripe(folder: Path) -> Path:
    return folder / "stripe/state.json"


def _run(postgres: Postgres, url: str, program: str, *arguments: str) -> None:
    """Run a client of PostgreSQL on the services' database.

    Raises:
        ServerError: it failed; the message has what it said.
    """
    to = urlsplit(url)
    done = subprocess.run(
        [postgres.program(program), *arguments],
        env={
            "PATH": os.environ["PATH"],
            "PGHOST": "127.0.0.1",
            "PGPORT": str(to.port),
            "PGUSER": to.username or "",
            "PGPASSWORD": to.password or "",
            "PGDATABASE": DATABASE,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ServerError(f"{program} failed: {done.stderr.strip()}")


def main() -> int:
    """Do what the command line says; return 1 if it could not be done."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.backup", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("create", help="write a new file to backups/ of the home")
    commands.add_parser("restore", help="fill an empty home").add_argument("file", type=Path)
    args = parser.parse_args()
    try:
        config = current_config()
        if args.command == "create":
            path = back_up(config)
            say(
                f"{path} ({path.stat().st_size / 1e6:.1f} MB). It holds every secret: keep it safe."
            )
        else:
            asyncio.run(restore(config, args.file))
            say(f"{config.home} is as it was in {args.file}. Start it: make run", mood="good")
    except (BackupError, ConfigError, ServerError, home.HomeInUseError) as problem:
        say(str(problem), mood="bad")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
