"""`make doctor`: whether what runs is as it should be, and what to do where it is not.

Every service looks for itself (`python -m services.<name> check`), in the environment that its
process runs with. What only an administrator can see is looked at here.
"""

import base64
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from deploy.local import home
from deploy.local.config import ROOT, SERVICES, Config, ConfigError, current_config
from deploy.local.leftovers import is_alive
from deploy.local.process import environment_of
from deploy.local.run_file import read_run_file
from deploy.local.stack import is_healthy
from deploy.local.terminal import say
from libs.common.checks import Finding
from libs.common.topology import bound, key

TIMEOUT_S = 60


def examine(config: Config) -> int:
    """Print a line for everything that was looked at; return 1 if there is a problem."""
    content = read_run_file(home.run_path(config.home))
    if content is None or home.launcher(config.home) is None:
        say(f"Nothing runs in {config.home}. Start it: make run", mood="bad")
        return 1
    processes = {each["name"]: each for each in content["processes"]}
    checked = [name for name in SERVICES if name in processes]
    with ThreadPoolExecutor(max_workers=2) as threads:  # imports keep a core busy for 2 s
        reports = dict(
            zip(checked, threads.map(_check, (processes[name] for name in checked)), strict=True)
        )
    lines = [("stack", line) for line in _processes(processes)]
    lines += [("stack", line) for line in _bindings(content["urls"])]
    lines += [(name, line) for name, report in reports.items() for line in report]
    for name, line in lines:
        say(f"{name:<9}{line}", mood="bad" if line.startswith("problem") else "")
    problems = sum(line.startswith("problem") for _, line in lines)
    if problems:
        say(f"{problems} of {len(lines)} are problems.", mood="bad")
        return 1
    say("All is well.", mood="good")
    return 0


def _check(process: Mapping[str, Any]) -> list[str]:
    """Return what a service finds, in the environment of its process."""
    try:
        environment = environment_of(process["pid"])
    except OSError:
        return []  # it has ended; `_processes` says so
    done = subprocess.run(
        [sys.executable, "-m", f"services.{process['name']}", "check"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    # What it says there is why it did not get to its report, above all a setting.
    return [*done.stdout.splitlines(), *(f"problem  {line}" for line in done.stderr.splitlines())]


def _processes(processes: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, each in processes.items():
        if not is_alive(each["pid"], each["ticks"]):
            yield _line(name, "has ended", f"Why, says {each['log']}")
        elif name.rstrip("-0123456789") in SERVICES and not is_healthy(each["port"]):
            yield _line(name, "is not ready", f"See its own lines below, and {each['log']}")
        else:
            yield _line(name, f"runs, pid {each['pid']}")


def _bindings(urls: Mapping[str, str]) -> Iterator[str]:
    """Compare RabbitMQ's bindings with ours; only an administrator may see them."""
    try:
        found = {
            (each["source"], each["destination"], each["routing_key"])
            for each in _ask(urls, "bindings/%2F")
        }
    except (OSError, ValueError) as problem:
        text = f"RabbitMQ's management API does not answer ({type(problem).__name__})"
        yield _line("bindings", text, "Restart it: make stop, make run")
        return
    wanted = {(exchange.name, queue.name, key(queue)) for queue, exchange in bound()}
    lost = sorted(f"{queue} to {exchange}" for exchange, queue, _ in wanted - found)
    if lost:
        remedy = "Events are lost until a service starts, which binds them: make stop, make run"
        yield _line("bindings", f"missing: {', '.join(lost)}", remedy)
    else:
        yield _line("bindings", f"{len(wanted)}, each queue to its exchange")


def _ask(urls: Mapping[str, str], path: str) -> Any:
    account = urlsplit(urls["rabbitmq"])
    login = base64.b64encode(f"{account.username}:{account.password}".encode()).decode()
    request = urllib.request.Request(f"{urls['management']}api/{path}")  # noqa: S310 - our own
    request.add_header("Authorization", f"Basic {login}")
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
        return json.load(answer)


def _line(name: str, text: str, remedy: str = "") -> str:
    return Finding(name, text, remedy).line()


def main() -> int:
    """Do it for the home of this process's environment, and return the exit code."""
    try:
        return examine(current_config())
    except ConfigError as problem:
        say(str(problem), mood="bad")
        return 1


if __name__ == "__main__":
    sys.exit(main())
