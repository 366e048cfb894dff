"""`make dead-letters`: read what failed for good, send it again, or throw it away."""

import argparse
import asyncio
import json
import logging
import os
import sys
from collections.abc import Sequence

from deploy.local import home
from deploy.local.config import ConfigError, current_config
from deploy.local.letters import DeadLetterError, Letter, Shelf, take_all
from deploy.local.run_file import read_run_file
from deploy.local.terminal import say

_TITLES = ("died (UTC)", "event type", "failed in", "attempts", "reason", "event id")


async def perform(args: argparse.Namespace, url: str) -> int:
    """Do what the command line says and return the exit code.

    Raises:
        DeadLetterError: it cannot be done.
    """
    if args.command == "discard" and not args.yes and not await _is_sure(args.event_id, url):
        say("Nothing was discarded.")
        return 1
    async with take_all(url) as shelf:
        match args.command:
            case "show":
                for letter in shelf.find(args.event_id):
                    _show(letter)
            case "replay":
                return await _replay(shelf, args)
            case "discard":
                for letter in shelf.find(args.event_id):
                    await shelf.discard(letter)
                    say(f"Discarded {letter.event_id}, which failed in {letter.queue}.")
            case _:
                _list(shelf.letters)
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the command line's meaning; `list` is the default.

    Raises:
        SystemExit: with 2 if it makes no sense.
    """
    broker = argparse.ArgumentParser(add_help=False)
    broker.add_argument(
        "--url",
        default=argparse.SUPPRESS,
        help="amqp://...; RABBITMQ_URL does the same out of other users' sight. "
        "Without either: the running stack of THOUGHTFLOW_HOME",
    )
    parser = argparse.ArgumentParser(
        prog="make dead-letters", description=__doc__, parents=[broker]
    )
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("list", parents=[broker], help="a line for each, the oldest first")
    show = commands.add_parser("show", parents=[broker], help="headers and body")
    show.add_argument("event_id")
    replay = commands.add_parser("replay", parents=[broker], help="back to where it failed")
    replay.add_argument("event_id", nargs="*")
    replay.add_argument("--all", action="store_true", help="every letter, in order")
    discard = commands.add_parser("discard", parents=[broker], help="delete, after asking")
    discard.add_argument("event_id")
    discard.add_argument("--yes", action="store_true", help="do not ask")
    args = parser.parse_args(arguments)
    if args.command == "replay" and args.all == bool(args.event_id):
        replay.error("name event ids, or say --all")
    return args


def _list(letters: list[Letter]) -> None:
    if not letters:
        say("No dead letters.")
        return
    rows = [_TITLES, *(letter.row() for letter in letters)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
        say(_printable("  ".join(cells).rstrip()))


def _show(letter: Letter) -> None:
    for title, cell in zip(_TITLES, letter.row(), strict=True):
        say(_printable(f"{title + ':':<12} {cell}"))
    for name, value in sorted(letter.message.headers.items()):
        say(_printable(f"{name}: {value!s}"))
    say("\nThe body may hold what a user wrote: do not paste it into tickets or chats.", mood="bad")
    try:
        text = json.dumps(json.loads(letter.message.body), indent=2, ensure_ascii=False)
    except ValueError:
        text = f"Not JSON: {letter.message.body!r}"
    say(_printable(text) + "\n")


async def _replay(shelf: Shelf, args: argparse.Namespace) -> int:
    """Send what was there when the command began: what fails again at once is not sent again."""
    problems: list[DeadLetterError] = []
    letters = list(shelf.letters) if args.all else []
    for event_id in dict.fromkeys(args.event_id):
        try:
            letters += shelf.find(event_id)
        except DeadLetterError as problem:
            problems.append(problem)
    for letter in letters:
        try:
            await shelf.replay(letter)
            say(f"Sent {letter.event_id} to {letter.queue}.")
        except DeadLetterError as problem:
            problems.append(problem)
    for failure in problems:
        say(str(failure), mood="bad")
    if not (letters or problems):
        say("No dead letters.")
    return 1 if problems else 0


async def _is_sure(event_id: str, url: str) -> bool:
    async with take_all(url) as shelf:
        _list(shelf.find(event_id))
    say("Discard this for good? [y/N] ")  # with nothing held, as people take their time
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _printable(text: str) -> str:
    """Escape what a terminal would obey."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def _url(args: argparse.Namespace) -> str:
    given: str | None = getattr(args, "url", None) or os.environ.get("RABBITMQ_URL")
    if given:
        return given
    config = current_config()
    content = read_run_file(home.run_path(config.home))
    if content is None or home.launcher(config.home) is None:
        raise DeadLetterError(
            f"Nothing runs in {config.home}. Start it: make run. For another broker: "
            "RABBITMQ_URL=amqp://... make dead-letters"
        )
    url: str = content["urls"]["rabbitmq"]
    return url


def main() -> int:
    """Do what the command line says; return 0, or 1 if a part of it could not be done."""
    args = parse(sys.argv[1:])
    logging.disable()  # aiormq logs what it raises, and we say it in our words
    try:
        return asyncio.run(perform(args, _url(args)))
    except (DeadLetterError, ConfigError) as problem:
        say(str(problem), mood="bad")
    except KeyboardInterrupt:
        say("\nInterrupted. What was not sent or discarded is still there.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
