"""Real programs on a mount that makes changes later: what it costs, and what a kill leaves."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.mount.bench import Bench, wait_for_end


def make_source(bench: Bench, files: int, folders: int, size: int) -> Path:
    source = bench.folder / "source"
    for number in range(files):
        file = source / f"d{number % folders}" / f"f{number}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(size))
    bench.sh("find source -exec touch -d '2024-01-01 00:00:00.123456789 UTC' {} +")
    return source


def requests(bench: Bench) -> int:
    counts = bench.server.stats()["requests"]
    print({op: number for op, number in counts["by_op"].items() if number})
    return int(counts["total"])


def test_a_tree_of_many_files(bench: Bench) -> None:
    make_source(bench, 400, 10, 4096)
    with bench.mounted("writeback") as mount:
        bench.server.reset_stats()
        mount.sh("cp -r ../source copy")
        mount.sh("diff -r ../source copy")
        mount.umount()
        assert requests(bench) <= 400 + 11 + 10
    with bench.mounted() as mount:
        assert mount.sh("diff -r ../source copy") == ""


def test_rsync_renames_nothing_at_the_server(bench: Bench) -> None:
    make_source(bench, 200, 10, 3000)
    with bench.mounted("writeback") as mount:
        bench.server.reset_stats()
        mount.sh("rsync -a ../source/ synced")
        mount.umount()
        assert requests(bench) <= 233
        assert bench.requests("upload") == 200
    with bench.mounted() as mount:
        assert mount.sh("diff -r ../source synced") == ""
        assert mount.sh("rsync -ai ../source/ synced") == ""


def test_what_was_closed_survives_a_kill(bench: Bench) -> None:
    make_source(bench, 60, 3, 3000)
    with bench.mounted("writeback,writeback_delay=3600") as mount:
        mount.sh("mkdir gone; echo kept > old; sync old; cp -r ../source copy; mv old new")
        mount.sh("echo temporary > t; rm t; rmdir gone; chmod 600 new")
        pid = mount.pid
        assert bench.requests("upload") == 1
        os.kill(pid, signal.SIGKILL)
        wait_for_end(pid)
        assert bench.cosfs("umount", str(mount.path)).returncode == 0
        listed = bench.cosfs("pending", str(mount.path))
        assert listed.returncode == 1 and "waits to be stored" in listed.stdout
        without = bench.cosfs("mount", "demo", str(mount.path))
        assert without.returncode == 2 and "-o writeback" in without.stderr
    with bench.mounted("writeback,writeback_delay=3600") as mount:
        assert mount.sh("diff -r ../source copy; ls; cat new; stat -c %a new").split() == [
            "copy", "new", "kept", "600",
        ]  # fmt: skip
        assert bench.cosfs("flush", str(mount.path / "copy")).returncode == 0
        assert bench.requests("upload") == 61
        mount.umount()
    with bench.mounted() as mount:
        assert mount.sh("diff -r ../source copy; ls").split() == ["copy", "new"]
