"""What mount tests stand on: a local server in this process, and real ``cosfs`` commands.

The server runs in a thread of the process that runs the tests. So a test must never touch the
mount in a way that keeps the interpreter's lock (a page fault of ``mmap``): run a program instead.
"""

from __future__ import annotations

import ctypes.util
import json
import os
import select
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cosfs.server.running import APPID, SECRET_ID, SECRET_KEY, LocalServer

#: A command that takes longer hangs, also on a machine that is busy with other tests.
COMMAND_TIMEOUT_S = 240


def why_no_mounts() -> str:
    """Return why no mount can be made on this machine; "" if one can."""
    if not os.path.exists("/dev/fuse"):
        return "/dev/fuse does not exist"
    if ctypes.util.find_library("fuse") is None:
        return "libfuse 2 is not installed"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse may not be used"
    if os.geteuid() != 0 and shutil.which("fusermount") is None:
        return "fusermount is not installed"
    return ""


class Mounted:
    """A bucket mounted by a process of its own."""

    def __init__(self, bench: Bench, path: Path) -> None:
        self.bench = bench
        self.path = path

    @property
    def state(self) -> Path:
        """The state folder of this mount."""
        for file in self.bench.state_root.glob("*/info.json"):
            if json.loads(file.read_text())["mountpoint"] == str(self.path):
                return file.parent
        raise AssertionError(f"no state folder for {self.path}")

    @property
    def pid(self) -> int:
        return int(json.loads((self.state / "info.json").read_text())["pid"])

    @property
    def log(self) -> str:
        return (self.state / "cosfs.log").read_text()

    @property
    def is_mounted(self) -> bool:
        return f" {self.path} fuse.cosfs " in Path("/proc/mounts").read_text()

    @property
    def is_settled(self) -> bool:
        """Whether nothing waits to be stored: no attributes to be sent, no content in the spool."""
        journal = sqlite3.connect(f"file:{self.state / 'journal.sqlite'}?mode=ro", uri=True)
        try:
            (unsent,) = journal.execute("SELECT count(*) FROM attributes").fetchone()
        finally:
            journal.close()
        return unsent == 0 and not any(self.state.glob("spool/*.data"))

    def cost(self, script: str) -> int:
        """Return how many requests a shell script in the mount's root costs, late ones included."""
        self.bench.server.reset_stats()
        self.sh(script)
        # Attributes are sent a second later, and a release without a flush is asynchronous.
        wait_until(lambda: self.is_settled)
        requests = self.bench.server.stats()["requests"]
        counts = ", ".join(f"{n} {op}" for op, n in requests["by_op"].items() if n)
        print(f"{requests['total']:5} {script.strip().splitlines()[0]}: {counts}")
        return int(requests["total"])

    def umount(self) -> None:
        """Unmount; fail unless everything is stored."""
        done = self.bench.cosfs("umount", str(self.path))
        assert done.returncode == 0, done.stderr

    def sh(self, script: str) -> str:
        """Run a shell script in the mount's root; return what it prints, fail if it fails."""
        return self.bench.sh(script, cwd=self.path)


class Bench:
    """A server with a bucket ``demo``, and a place to mount it."""

    def __init__(self, server: LocalServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.state_root = folder / "state" / "cosfs"
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "XDG_STATE_HOME": str(folder / "state"),
            "COSFS_APPID": APPID,
            "COSFS_SECRET_ID": SECRET_ID,
            "COSFS_SECRET_KEY": SECRET_KEY,
            "COSFS_ENDPOINT": server.url,
            "COSFS_DOWNLOAD_ENDPOINT": server.url,
        }

    def cosfs(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run one ``cosfs`` command; ``environ`` is added to the environment, "" removes."""
        merged = {name: value for name, value in {**self.environ, **environ}.items() if value}
        return subprocess.run(
            [sys.executable, "-m", "cosfs", *arguments],
            env=merged,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )

    def sh(self, script: str, *, cwd: Path | None = None) -> str:
        """Run a shell script; return what it prints, fail if it fails."""
        done = subprocess.run(
            ["bash", "-euc", script],
            env=self.environ,
            cwd=cwd or self.folder,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, f"{script}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    @contextmanager
    def mounted(
        self, options: str = "", *, source: str = "demo", name: str = "mnt"
    ) -> Iterator[Mounted]:
        """Mount for the length of a ``with``; at its end, unmount if the test has not."""
        path = self.folder / name
        path.mkdir(exist_ok=True)
        arguments = ["mount", source, str(path), *(["-o", options] if options else [])]
        done = self.cosfs(*arguments)
        assert done.returncode == 0, done.stderr
        mounted = Mounted(self, path)
        try:
            yield mounted
            if mounted.is_mounted:
                mounted.umount()
        finally:
            if mounted.is_mounted:
                print(mounted.log)
                subprocess.run(["umount", "-l", str(path)], check=False)

    def requests(self, op: str) -> int:
        """Return how many requests of an operation the server has received."""
        return int(self.server.stats()["requests"]["by_op"].get(op, 0))


def wait_until(condition: Callable[[], bool], *, timeout_s: float = 20) -> None:
    """Return once ``condition`` holds; fail when it does not come about."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.01)


def wait_for_end(pid: int, *, timeout_s: float = 20) -> None:
    """Return once a process, not one of ours, has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        assert poll.poll(timeout_s * 1000), f"process {pid} does not end"
    finally:
        os.close(descriptor)
