"""How a mount ends: what is stored by then, and what is said when something is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mount.bench import Bench, Mounted, wait_for_end, wait_until


@contextmanager
def program_in(mount: Mounted, script: str) -> Iterator[subprocess.Popen[str]]:
    """Run a Python script in the mount; it prints a line when it is ready, ends on a line."""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=mount.path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


HOLD_UNSTORED = """
import os
fd = os.open("held", os.O_WRONLY | os.O_CREAT)
os.write(fd, b"kept")
print("ready", flush=True)
input()
"""


HOLD_OPEN = """
import os
fd = os.open("held", os.O_WRONLY | os.O_CREAT)
os.chdir("/")
"""

HOLD_MAPPED = """
import mmap, os
fd = os.open("held", os.O_RDWR | os.O_CREAT)
os.write(fd, bytes(10000))
view = mmap.mmap(fd, 10000)
# The module keeps a descriptor of its own.
os.closerange(3, 100)
view[:5] = b"MMMMM"
view[5000:5005] = b"NNNNN"
os.chdir("/")
"""

MAPPED = b"MMMMM" + bytes(4995) + b"NNNNN" + bytes(4995)


class TestUmount:
    def test_everything_is_stored_when_it_returns(self, bench: Bench) -> None:
        with bench.mounted() as mount:
            mount.sh("for i in $(seq 50); do echo $i > $i; done")
            mount.umount()
            assert not mount.is_mounted
            with bench.mounted(name="again") as again:
                assert again.sh("cat $(seq 50)") == mount.bench.sh("seq 50")

    def test_the_process_has_ended_when_it_returns(self, bench: Bench) -> None:
        with bench.mounted() as mount:
            pid = mount.pid
            mount.umount()
            wait_for_end(pid, timeout_s=0)

    def test_it_waits_for_a_slow_store(self, bench: Bench) -> None:
        with bench.mounted() as mount:
            with program_in(mount, HOLD_UNSTORED):
                bench.server.set_faults({"latency_ms": 5000})
                os.kill(mount.pid, signal.SIGTERM)
                wait_until(lambda: not mount.is_mounted)
                done = bench.cosfs("umount", str(mount.path))
            assert done.returncode == 0, done.stderr
            assert "still storing" in done.stderr
            assert "waiting for process" in done.stderr
        bench.server.clear_faults()
        with bench.mounted() as again:
            assert again.sh("cat held") == "kept"

    @pytest.mark.parametrize(
        ("hold", "how"),
        [
            ("", "stands in {}"),
            (HOLD_OPEN, "has open {}/held"),
            (HOLD_MAPPED, "has mapped {}/held"),
        ],
    )
    def test_busy(self, mounted: Mounted, hold: str, how: str) -> None:
        with program_in(mounted, hold + "print('ready', flush=True); input()") as program:
            done = mounted.bench.cosfs("umount", str(mounted.path))
            assert done.returncode == 1
            (line,) = done.stderr.splitlines()[1:-1]
            name = Path(f"/proc/{program.pid}/comm").read_text().strip()
            assert line == f"  {name} ({program.pid}) {how.format(mounted.path)}"
            assert mounted.is_mounted

    def test_not_mounted(self, bench: Bench) -> None:
        done = bench.cosfs("umount", str(bench.folder))
        assert done.returncode == 2 and "nothing is mounted" in done.stderr

    def test_another_file_system(self, bench: Bench) -> None:
        done = bench.cosfs("umount", "/proc")
        assert done.returncode == 2 and "type proc" in done.stderr
        assert os.path.exists("/proc/self")

    def test_what_is_not_stored_is_said_loudly(self, bench: Bench) -> None:
        with bench.mounted("timeout=2") as mount:
            with program_in(mount, HOLD_UNSTORED) as program:
                bench.server.stop()
                assert program.communicate("\n")[0] == ""
            done = bench.cosfs("umount", str(mount.path))
            assert done.returncode == 1
            assert "1 files are NOT STORED" in done.stderr
            line = done.stderr.splitlines()[1]
            assert line.startswith("  /held: ")
            kept = Path(line.rpartition(" kept in ")[2])
            assert kept.read_bytes() == b"kept"

    def test_after_the_process_was_killed(self, bench: Bench) -> None:
        with bench.mounted() as mount:
            mount.sh("echo stored > file")
            wait_until(lambda: not any(mount.state.glob("spool/*")))
            os.kill(mount.pid, signal.SIGKILL)
            wait_for_end(mount.pid)
            done = bench.cosfs("umount", str(mount.path))
            assert done.returncode == 0
            assert "had died" in done.stderr and "nothing unstored" in done.stderr
            assert not mount.is_mounted

    def test_content_outlives_a_killed_process(self, bench: Bench) -> None:
        with bench.mounted() as mount:
            with program_in(mount, HOLD_UNSTORED):
                os.kill(mount.pid, signal.SIGKILL)
                wait_for_end(mount.pid)
            done = bench.cosfs("umount", str(mount.path))
            assert done.returncode == 1
            kept = Path(done.stderr.rpartition(": ")[2].strip())
            assert kept.read_bytes() == b"kept"
        with bench.mounted() as mount:
            (left,) = mount.state.glob("left-*")
            assert [file.read_bytes() for file in left.iterdir()] == [b"kept"]
            assert str(left) in mount.log

    def test_a_lazy_umount_is_waited_for(self, bench: Bench) -> None:
        with bench.mounted() as mount:
            with program_in(mount, HOLD_UNSTORED):
                bench.sh(f"umount -l {mount.path}")
                assert not mount.is_mounted
                waiting = subprocess.Popen(
                    [sys.executable, "-m", "cosfs", "umount", str(mount.path)],
                    env=bench.environ,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                assert waiting.stderr is not None
                assert "unmounted already" in waiting.stderr.readline()
            with waiting:
                assert waiting.wait(20) == 0
        with bench.mounted() as mount:
            assert mount.sh("cat held") == "kept"

    def test_umount8_and_mounting_again_at_once(self, bench: Bench) -> None:
        with bench.mounted() as mount:
            mount.sh("echo hi > file")
            bench.sh(f"umount {mount.path}")
            with bench.mounted() as again:
                assert again.sh("cat file") == "hi\n"


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_what_is_open_is_stored_first(self, bench: Bench, number: signal.Signals) -> None:
        with bench.mounted() as mount:
            with program_in(mount, HOLD_UNSTORED):
                pid = mount.pid
                os.kill(pid, number)
                wait_for_end(pid)
            assert not mount.is_mounted
        with bench.mounted() as mount:
            assert mount.sh("cat held") == "kept"

    def test_what_is_changed_in_a_mapping_is_stored_first(self, bench: Bench) -> None:
        with bench.mounted() as mount:
            with program_in(mount, HOLD_MAPPED + "print('ready', flush=True); input()"):
                assert mount.sh("stat -c %s held") == "10000\n"
                pid = mount.pid
                os.kill(pid, signal.SIGTERM)
                wait_for_end(pid)
        with bench.mounted() as mount:
            assert (mount.path / "held").read_bytes() == MAPPED

    def test_requests_under_way_are_answered_first(self, bench: Bench) -> None:
        with bench.mounted() as mount:
            bench.server.set_faults({"latency_ms": 1000})
            before = bench.requests("upload")
            writer = subprocess.Popen(["sh", "-c", f"echo hi > {mount.path}/file"])
            wait_until(lambda: bench.requests("upload") > before)
            os.kill(mount.pid, signal.SIGTERM)
            assert writer.wait(20) == 0
            wait_for_end(mount.pid)
        bench.server.clear_faults()
        with bench.mounted() as mount:
            assert mount.sh("cat file") == "hi\n"

    def test_in_the_foreground(self, bench: Bench) -> None:
        path = bench.folder / "mnt"
        path.mkdir()
        process = subprocess.Popen(
            [sys.executable, "-m", "cosfs", "mount", "demo", str(path), "--foreground"],
            env=bench.environ,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stderr is not None
            assert "is mounted on" in process.stderr.readline()
            (path / "file").write_text("hi")
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
            assert "0 files not stored" in process.stderr.read()
        assert not os.path.ismount(path)
