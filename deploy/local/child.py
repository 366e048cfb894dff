"""Becomes another program that cannot outlive its parent.

Run by path, never imported: `python -I -S child.py PARENT SIGNAL UID PROGRAM ARGUMENT...`. The
kernel sends SIGNAL to the program when PARENT dies (`prctl(2)`, PR_SET_PDEATHSIG). A program of
its own rather than `preexec_fn`, which may deadlock in a parent that has threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def become(parent: int, death_signal: int, uid: int, command: list[str]) -> None:
    """Replace this process by `command`, as user `uid` if that is not 0.

    Raises:
        OSError: the user cannot be taken on, or the program cannot be run.
    """
    if uid:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    # After the change of user, which clears it.
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it died before the line above
        sys.exit(1)
    # Python ignores these for itself, and what is ignored stays so in the next program.
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
        signal.signal(ignored, signal.SIG_DFL)
    os.execv(command[0], command)  # noqa: S606 - a shell is what nobody wants here


if __name__ == "__main__":
    try:
        become(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
    except OSError as problem:
        sys.exit(f"cannot start {sys.argv[4]}: {problem}")
