"""A folder for a server that must not run as root."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from deploy.local.process import NOBODY
from deploy.local.server import PATH, ServerError, write_private


class Folder:
    """A server's folder and the user that it belongs to.

    PostgreSQL refuses to run as root. For root the folder therefore belongs to the user with uid
    65534, and if that user cannot get to it (below /root, say) it lies in /var/tmp, named after
    the path it stands for.

    Args:
        wanted: where it should be; absolute.

    Attributes:
        path: where it is.
        uid: the user to run the server as; 0 means the present one, who is not root.
    """

    def __init__(self, wanted: Path) -> None:
        self.uid = NOBODY if os.geteuid() == 0 else 0
        self._wanted = wanted
        self.path = wanted
        digest = hashlib.sha256(str(wanted).encode()).hexdigest()[:12]
        outside = Path("/var/tmp") / f"thoughtflow-{digest}"  # noqa: S108 - checked in make()
        if self.uid and not _can_reach(wanted.parent):
            self.path = outside
        self._programs = outside.with_name(f"{outside.name}-programs")

    def make(self) -> None:
        """Make the folder, for its owner only.

        Raises:
            ServerError: somebody else's folder is in its place.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self.path.lstat()
        if self.path.is_symlink() or found.st_uid not in {os.geteuid(), self.uid}:
            raise ServerError(f"{self.path} belongs to somebody else: move it away")
        self._own(self.path)

    def elsewhere(self) -> list[Path]:
        """Return what exists of it outside of the place it was wanted in."""
        return [
            path for path in (self.path, self._programs) if path != self._wanted and path.exists()
        ]

    def elsewhere_programs(self) -> list[Path]:
        """Return the folder of copied programs, if there is one."""
        return [self._programs] if self._programs.exists() else []

    def write(self, name: str, text: str) -> Path:
        """Write a file that only the server's user may read, and return its path."""
        path = self.path / name
        write_private(path, text)
        self._own(path)
        return path

    def program(self, package: Path, folder: str) -> Path:
        """Return where the server's user can run the programs of `package/folder`.

        That is where they are, unless they are below a folder that this user cannot get to: then a
        copy.

        Raises:
            ServerError: somebody else's folder is in the copy's place.
        """
        programs = package / folder
        if not self.uid or _can_reach(programs):
            return programs
        version = str(package.stat().st_mtime_ns)  # an upgraded package is copied anew
        copy = self._programs / version / package.name
        if self._programs.exists() and self._programs.lstat().st_uid != os.geteuid():
            raise ServerError(f"{self._programs} belongs to somebody else: move it away")
        if not copy.exists():
            partial = copy.with_name(f"{copy.name}.{os.getpid()}")
            for parent in (self._programs, self._programs / version):
                parent.mkdir(exist_ok=True)
                parent.chmod(0o755)  # whatever the umask
            shutil.copytree(package, partial, symlinks=True)
            libraries = package.with_name(f"{package.name}.libs")  # found by a relative path
            if libraries.exists():
                shutil.copytree(libraries, copy.with_name(libraries.name), dirs_exist_ok=True)
            partial.rename(copy)
        return copy / folder

    def run(self, command: list[str]) -> None:
        """Run a command to its end as the server's user.

        Raises:
            ServerError: it failed; the message has what it said.
        """
        user = {"user": self.uid, "group": self.uid, "extra_groups": []} if self.uid else {}
        done = subprocess.run(
            command,
            cwd=self.path,
            env={"PATH": PATH, "LANG": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
            **user,  # type: ignore[call-overload]
        )
        if done.returncode:
            raise ServerError(f"{command[0]} failed: {done.stderr.strip() or done.stdout.strip()}")

    def _own(self, path: Path) -> None:
        if self.uid:
            os.chown(path, self.uid, self.uid)


def _can_reach(folder: Path) -> bool:
    """Return whether uid 65534 may pass through the folder and all above it."""
    for part in [folder, *folder.parents]:
        if part.exists() and not part.stat().st_mode & 0o001:
            return False
    return True
