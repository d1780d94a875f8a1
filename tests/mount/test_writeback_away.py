"""Closes that wait for room while the server is away: what else the mount does, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.mount.bench import Bench, Mounted, wait_for_end, wait_until

#: Makes files of 100,000 bytes in the folder ``many``, each by a process of its own; prints a line
#: when all are about to close theirs.
CROWD = """
import os, sys
ready, tell = os.pipe()
for number in range(int(sys.argv[1])):
    if os.fork() == 0:
        fd = os.open(f"many/{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(fd, bytes([number]) * 100_000)
        os.write(tell, b".")
        os.close(fd)
        os._exit(0)
for _ in range(int(sys.argv[1])):
    os.read(ready, 1)
print("ready", flush=True)
failed = [os.wait()[1] for _ in range(int(sys.argv[1]))]
sys.exit(any(failed))
"""
SIZE = 100_000
ROOM = 2**20 // SIZE


def writeback(mount: Mounted) -> dict[str, Any]:
    done = mount.bench.cosfs("status", str(mount.path), "--json")
    found: dict[str, Any] = json.loads(done.stdout)["writeback"]
    return found


@contextmanager
def crowd(mount: Mounted, files: int) -> Iterator[subprocess.Popen[str]]:
    """Let ``files`` programs write and close at once; go on when those that have no room wait."""
    with subprocess.Popen(
        [sys.executable, "-c", CROWD, str(files)],
        cwd=mount.path,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as program:
        assert program.stdout is not None and program.stdout.readline() == "ready\n"
        children = Path(f"/proc/{program.pid}/task/{program.pid}/children")

        def left() -> int:
            return sum(not _is_over(pid) for pid in children.read_text().split())

        try:
            wait_until(lambda: left() == files - ROOM, timeout_s=60)
            yield program
        finally:
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)


def _is_over(pid: str) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


def test_a_crowd_of_closes_that_wait_for_room_blocks_nobody_else(bench: Bench) -> None:
    with bench.mounted("writeback,writeback_delay=0,writeback_size=1M,timeout=5") as mount:
        mount.sh("mkdir many; echo old > old; ls -l . many")
        bench.server.stop()
        with crowd(mount, 150) as program:
            for _ in range(3):
                mount.sh("ls -l . many; stat old; touch -d @1 old")
            mount.sh("rm old")
            wait_until(lambda: writeback(mount)["away"])
            assert program.poll() is None
            bench.server.start()
            assert program.wait(60) == 0
        mount.umount()
    with bench.mounted() as mount:
        assert mount.sh("ls; ls many | wc -l").split() == ["many", "150"]
        assert (mount.path / "many" / "149").read_bytes() == bytes([149]) * 100_000


def test_a_mount_ends_though_closes_wait_for_room(bench: Bench) -> None:
    options = "writeback,writeback_delay=0,writeback_size=1M,timeout=2"
    with bench.mounted(options) as mount:
        mount.sh("mkdir many; ls many")
        bench.server.stop()
        with crowd(mount, 20) as program:
            pid = mount.pid
            os.kill(pid, signal.SIGTERM)
            wait_for_end(pid, timeout_s=60)
            program.wait(60)
        bench.server.start()
    with bench.mounted(options) as mount:
        # What could not be closed before the end had no room.
        assert 10 <= int(mount.sh("ls many | wc -l")) <= 20
        assert mount.sh("find many -type f ! -size 100000c") == ""
