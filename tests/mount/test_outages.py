"""What is left when the mount's process or the server dies in the middle of things."""

from __future__ import annotations

import os
import signal
import subprocess

from tests.mount.bench import Bench, Mounted, wait_for_end, wait_until


def test_what_close_and_fsync_said_is_stored_survives_a_killed_mount(mounted: Mounted) -> None:
    mounted.sh("echo closed > closed; dd if=/dev/zero of=synced bs=1k count=3 conv=fsync 2>&1")
    os.kill(mounted.pid, signal.SIGKILL)
    wait_for_end(mounted.pid)
    mounted.bench.cosfs("umount", str(mounted.path))
    with mounted.bench.mounted(name="again") as again:
        assert again.sh("cat closed; stat -c %s synced") == "closed\n3072\n"


def test_a_server_that_restarts_during_cp(bench: Bench) -> None:
    bench.sh("mkdir tree; for i in $(seq 60); do head -c 100000 /dev/urandom > tree/$i; done")
    with bench.mounted("timeout=3,ttl=1") as mount:
        copy = subprocess.Popen(
            ["cp", "-r", str(bench.folder / "tree"), str(mount.path)],
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(lambda: bench.requests("upload") > 5)
        bench.server.stop()
        assert copy.stderr is not None
        # cp names the file that failed and goes on with the next.
        assert "tree/" in copy.stderr.readline()
        bench.server.start()
        with copy:
            assert copy.wait(60) == 1
        bench.sh(f"cp -r tree/. {mount.path}/tree/")
        bench.sh(f"diff -r tree {mount.path}/tree")
        mount.umount()
