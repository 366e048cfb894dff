"""`python -m deploy.local COMMAND`: what `make` calls."""

import asyncio
import os
import runpy
import signal
import sys

from deploy.local import home
from deploy.local.config import SERVICES, Config, ConfigError, current_config
from deploy.local.leftovers import is_alive
from deploy.local.run import run
from deploy.local.run_file import read_run_file
from deploy.local.stack import Programs, is_healthy
from deploy.local.terminal import say


def run_stack(config: Config) -> int:
    """Run the stack until Ctrl-C."""
    return asyncio.run(run(config, Programs()))


def show_status(config: Config) -> int:
    """Print a line for each process; return 1 if one of them is not well or nothing runs."""
    content = read_run_file(home.run_path(config.home))
    if content is None or home.launcher(config.home) is None:
        say(f"Nothing runs in {config.home}. Start it: make run")
        return 1
    say(f"{'name':<14}{'state':<12}{'pid':<9}{'url':<42}log")
    all_well = True
    for entry in content["processes"]:
        state = _state(entry["name"], entry["pid"], entry["ticks"], entry["port"])
        all_well = all_well and state in {"ready", "runs"}
        mood = "" if state in {"ready", "runs"} else "bad"
        say(
            f"{entry['name']:<14}{state:<12}{entry['pid']:<9}{entry['url']:<42}{entry['log']}",
            mood=mood,
        )
    return 0 if all_well else 1


def stop_stack(config: Config) -> int:
    """Ask the launcher of this home to stop, and wait until it has."""
    running = home.launcher(config.home)
    if running is None:
        say(f"Nothing runs in {config.home}.")
        return 0
    os.kill(running[0], signal.SIGTERM)
    lock = home.Lock(config.home)
    stopped = lock.wait(45)
    lock.close()
    say("Stopped." if stopped else f"It is still stopping (pid {running[0]}).")
    return 0 if stopped else 1


def reset_home(config: Config) -> int:
    """Delete the home after asking; refused while it runs."""
    if not config.home.exists():
        say(f"There is nothing in {config.home}.")
        return 0
    lock = home.Lock(config.home)
    if not lock.take():
        say(f"Thoughtflow runs in {config.home}. Stop it first: make stop", mood="bad")
        return 1
    say(f"Delete all data in {config.home}? It cannot be undone. [y/N] ")
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        say("Nothing was deleted.")
        return 1
    home.delete(config.home)
    lock.close()
    say("Deleted.")
    return 0


def _state(name: str, pid: int, ticks: int, port: int) -> str:
    if not is_alive(pid, ticks):
        return "gone"
    if name.rstrip("-0123456789") in SERVICES:
        return "ready" if is_healthy(port) else "not ready"
    return "runs"


COMMANDS = {"run": run_stack, "status": show_status, "stop": stop_stack, "reset": reset_home}
# Programs of their own, with arguments of their own; imported only if they are asked for.
MODULES = {
    "backup": "deploy.local.backup",
    "dead-letters": "deploy.local.dead_letters",
    "demo": "deploy.local.demo",
    "doctor": "deploy.local.doctor",
    "footprint": "deploy.local.footprint",
}


def main() -> int:
    """Do what the command line says and return the exit code."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command in MODULES:
        del sys.argv[0]
        runpy.run_module(MODULES[command], run_name="__main__", alter_sys=True)
        return 0
    if command not in COMMANDS or len(sys.argv) > 2:
        say(f"usage: python -m deploy.local {'|'.join([*COMMANDS, *MODULES])}")
        return 2
    try:
        return COMMANDS[command](current_config())
    except (ConfigError, home.HomeInUseError) as problem:
        say(str(problem), mood="bad")
        return 1


if __name__ == "__main__":
    sys.exit(main())
