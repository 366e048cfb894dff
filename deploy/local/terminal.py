"""Calm lines for people: what, in which words, how long it took."""

import os
import sys

COLOURS = {"good": "32", "bad": "31", "quiet": "2"}


def say(text: str = "", *, mood: str = "") -> None:
    """Print a line at once; nothing happens if nobody reads any more.

    Args:
        text: the line.
        mood: `good`, `bad` or `quiet` colours it on a terminal, unless NO_COLOR is set.
    """
    if mood and sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        text = f"\033[{COLOURS[mood]}m{text}\033[0m"
    try:
        print(text, flush=True)
    except OSError:
        # The terminal or the pipe's reader is gone, and the stack must still stop in order.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def progress(name: str, text: str, seconds: float) -> None:
    """Print that something is done."""
    say(f"  {name:<12} {text:<46} {seconds:5.1f} s")
