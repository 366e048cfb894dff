"""Programs that the fork server's tests run."""

SHOW = """
import ctypes, gc, json, os, resource, signal, sys, threading
gone = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(gone))  # PR_GET_PDEATHSIG
with open("/proc/self/status") as status:
    names = "Threads", "SigPnd", "SigBlk", "SigIgn", "SigCgt"
    signals = [line.split() for line in status if line.startswith(names)]
print(json.dumps({
    "arguments": sys.argv, "path": sys.path, "folder": os.getcwd(), "name": __name__,
    "flags": str(sys.flags), "environment": dict(os.environ),
    "own session": os.getsid(0) == os.getpid() == os.getpgid(0), "dies with": gone.value,
    "signals": signals, "SIGINT": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
    "files": {fd: os.path.exists(f"/proc/self/fd/{fd}") for fd in range(64)},
    "stdin": os.readlink("/proc/self/fd/0"), "stdout": os.readlink("/proc/self/fd/1"),
    "append": bool(__import__("fcntl").fcntl(1, 3) & os.O_APPEND), "mask": os.umask(0o022),
    "text": [sys.stdout.encoding, sys.stdout.write_through, sys.stdin.encoding],
    "threads": [each.name for each in threading.enumerate()],
    "shown environment": sorted(open("/proc/self/environ").read().rstrip("\\0").split("\\0")),
    "collects garbage": gc.isenabled(), "limits": resource.getrlimit(resource.RLIMIT_NOFILE),
}, sort_keys=True))
"""
SPENT = """
import random, ssl, uuid_utils.compat
random.random(), ssl.RAND_bytes(8), uuid_utils.compat.uuid7()
"""
MADE_UP = """
import random, secrets, ssl, sys
sys.path.insert(0, {root!r})
from libs.common.clock import new_id
print(random.random(), secrets.token_hex(), ssl.RAND_bytes(8).hex(), new_id().hex[13:])
"""
