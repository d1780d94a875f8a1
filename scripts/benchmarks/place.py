"""Owns a server, mounts of its bucket, and their counters; must not know what is measured.

A mount is dropped from every cache by mounting it anew: nothing of the machine is touched.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import requests

from cosfs import ask
from cosfs.server.database import Database
from cosfs.server.objects import Objects
from cosfs.server.running import ServerProcess

from .base import OneConnection
from .sizes import Sizes

BUCKET = "demo"
#: Whatever takes longer hangs.
_PATIENCE_S = 3600.0


class Place:
    """One server with an empty bucket, in a folder of its own."""

    def __init__(self, folder: Path, sizes: Sizes, server: ServerProcess) -> None:
        self.folder = folder
        self.sizes = sizes
        self.server = server
        self._session = requests.Session()
        self._session.trust_env = False

    def environ(self) -> Mapping[str, str]:
        """Return the environment of commands: no option or proxy of the user's gets in."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
            "XDG_STATE_HOME": str(self.folder / "state"),
            "COSFS_APPID": self.server.appid,
            "COSFS_SECRET_ID": self.server.secret_id,
            "COSFS_SECRET_KEY": self.server.secret_key,
            "COSFS_ENDPOINT": self.server.url,
            "COSFS_DOWNLOAD_ENDPOINT": self.server.url,
        }

    @contextmanager
    def connection(self) -> Iterator[OneConnection]:
        """Give the base of comparison."""
        connection = OneConnection(self.server, BUCKET)
        try:
            yield connection
        finally:
            connection.close()

    @contextmanager
    def mounted(self, options: str = "") -> Iterator[Mount]:
        """Mount, cold, for the length of a ``with``; at its end everything is stored."""
        path = self.folder / "mnt"
        path.mkdir(exist_ok=True)
        self._cosfs("mount", BUCKET, str(path), *(["-o", options] if options else []))
        try:
            yield Mount(self, path)
        except BaseException:
            subprocess.run(["umount", "-l", str(path)], check=False)
            raise
        self._cosfs("umount", str(path))

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Let requests take as long as those of the network that ``sizes`` describes."""
        plan = {
            "latency_ms": self.sizes.latency_ms,
            "bytes_per_second_per_connection": self.sizes.bytes_per_second,
        }
        self._session.put(f"{self.server.url}/_server/faults", json=plan).raise_for_status()
        try:
            yield
        finally:
            self._session.delete(f"{self.server.url}/_server/faults").raise_for_status()

    def reset_stats(self) -> None:
        """Set the server's counters to zero."""
        self._session.post(f"{self.server.url}/_server/stats/reset").raise_for_status()

    def stats(self) -> dict[str, Any]:
        """Return the server's counters."""
        reply = self._session.get(f"{self.server.url}/_server/stats")
        reply.raise_for_status()
        stats: dict[str, Any] = reply.json()
        return stats

    def requests(self) -> int:
        """Return how many requests were counted."""
        return int(self.stats()["requests"]["total"])

    def fill(self, paths: Sequence[str], content: bytes) -> float:
        """Make the server hold files of one content; return the seconds that it took.

        One is uploaded; the others are rows that are written beside it while the server is down.
        Nothing may be mounted.
        """
        began = time.monotonic()
        with self.connection() as connection:
            connection.put(paths[0], content)
        self.server.stop()
        database = Database(self.folder / "server" / "index.sqlite3")
        try:
            objects = Objects(database)
            first = objects.get(BUCKET, paths[0].encode()[1:])
            assert first is not None
            with database.transaction():
                for path in paths[1:]:
                    objects.put(BUCKET, replace(first, key=path.encode()[1:]))
        finally:
            database.close()
            self.server.start()
        return time.monotonic() - began

    def sh(self, script: str, cwd: Path | None = None) -> str:
        """Run a shell script; return what it prints, raise ``RuntimeError`` if it fails."""
        return self._run(["bash", "-euc", script], cwd or self.folder)

    def _cosfs(self, *arguments: str) -> None:
        self._run([sys.executable, "-m", "cosfs", *arguments], self.folder)

    def _run(self, command: Sequence[str], cwd: Path) -> str:
        done = subprocess.run(
            command,
            env=self.environ(),
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.returncode}\n{done.stderr}")
        return done.stdout


class Mount:
    """A running mount."""

    def __init__(self, place: Place, path: Path) -> None:
        self._place = place
        self.path = path
        self._state, self.pid = self._find()

    def _find(self) -> tuple[Path, int]:
        for file in (self._place.folder / "state" / "cosfs").glob("*/info.json"):
            info = json.loads(file.read_text(encoding="utf-8"))
            if info["mountpoint"] == str(self.path):
                return file.parent, int(info["pid"])
        raise RuntimeError(f"no state folder of the mount on {self.path}")

    def sh(self, script: str) -> str:
        """Run a shell script in the mount's root."""
        return self._place.sh(script, self.path)

    def seconds(self, script: str) -> float:
        """Return how long a shell script in the mount's root takes."""
        began = time.monotonic()
        self.sh(script)
        return time.monotonic() - began

    def settle(self) -> None:
        """Return once everything is stored: attributes are sent a second after the program."""
        wait_until(self._is_settled)

    def _is_settled(self) -> bool:
        status = ask.ask(self._state, "status")
        return not status["files"]["dirty_files"] and not status["pending"]["attributes"]

    def peak_memory(self) -> int:
        """Return the largest resident memory that the mount's process has had, in bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(":")
            if name == "VmHWM":
                return int(value.split()[0]) * 1024
        raise RuntimeError(f"process {self.pid} has no memory")


@contextmanager
def opened(folder: Path, sizes: Sizes, stderr: Any = None) -> Iterator[Place]:
    """Start a server with an empty bucket in ``folder``, which is there and empty."""
    data = folder / "server"
    with ServerProcess(data, buckets=[BUCKET], stderr=stderr) as server:
        yield Place(folder, sizes, server)


def wait_until(condition: Callable[[], bool], patience_s: float = 60) -> None:
    """Return once ``condition`` holds. Raises ``TimeoutError`` when it does not come about."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it does not come about")
        time.sleep(0.02)
