"""What a write of a program costs, and what becomes of it when the server goes away."""

from __future__ import annotations

import subprocess
import time

import pytest

from cosfs.server.running import LocalServer
from tests.mount.bench import Bench, Mounted, wait_until

MMAP_AFTER_CLOSE = """
python3 - <<'PY'
import mmap, os
fd = os.open("f", os.O_RDWR)
view = mmap.mmap(fd, 10)
os.close(fd)
view[:5] = b"MMMMM"
view.close()
PY
"""


@pytest.mark.parametrize(
    ("script", "content"),
    [
        ("echo hi > new", {"new": "hi\n"}),
        ("echo hi > f", {"f": "hi\n"}),
        ("echo more >> f", {"f": "0123456789more\n"}),
        ("{ echo a; echo b; /bin/echo c; } > f", {"f": "a\nb\nc\n"}),
        ("for i in 1 2 3; do /bin/echo $i; done > new", {"new": "1\n2\n3\n"}),
        ("(cat f; cat f) > new", {"new": "01234567890123456789"}),
        ("cp f new", {"new": "0123456789"}),
        ("exec 3> new; /bin/echo a >&3; cat new f; /bin/echo b >&3; exec 3>&-", {"new": "a\nb\n"}),
        ("printf XX | dd of=f bs=2 seek=2 conv=notrunc status=none", {"f": "0123XX6789"}),
        ("truncate -s 3 f", {"f": "012"}),
        ("touch new", {"new": ""}),
        (MMAP_AFTER_CLOSE, {"f": "MMMMM56789"}),
        ("python3 -c 'open(\"new\", \"w\").write(\"x\" * 300000)'", {"new": "x" * 300000}),
    ],
)
def test_each_is_one_upload(bench: Bench, script: str, content: dict[str, str]) -> None:
    with bench.mounted() as mount:
        mount.sh("printf 0123456789 > f; ls")
        bench.server.reset_stats()
        mount.sh(script)
        # A release without a flush before it is asynchronous.
        wait_until(lambda: bench.requests("upload") >= 1)
        mount.umount()
        assert bench.requests("upload") == 1
    with bench.mounted() as mount:
        for name, text in content.items():
            assert (mount.path / name).read_bytes() == text.encode()


def test_copies_fail_while_the_server_is_away_and_work_again_after(
    bench: Bench, expect_log: object
) -> None:
    with bench.mounted("timeout=3") as mount:
        mount.sh("mkdir d; echo before > d/before; cat d/before")
        (bench.folder / "source").write_bytes(b"s" * 100_000)
        # Every upload hangs from now on, as if the network were cut in the middle of the copy.
        bench.server.set_faults({"rules": [{"op": "upload", "action": "hang"}]})
        started = time.monotonic()
        copied = subprocess.run(
            ["cp", str(bench.folder / "source"), str(mount.path / "d" / "copy")],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert copied.returncode == 1 and "copy" in copied.stderr
        # Once the timeout, and what a busy machine adds; not once more for each attempt.
        assert time.monotonic() - started < 15
        assert mount.sh("cat d/before") == "before\n"
        bench.server.clear_faults()
        bench.sh(f"cp source {mount.path}/d/copy; cmp source {mount.path}/d/copy")
        mount.umount()


def test_a_server_that_comes_back_needs_no_remount(bench: Bench) -> None:
    with bench.mounted("timeout=2,ttl=0") as mount:
        mount.sh("echo one > f")
        bench.server.stop()
        with pytest.raises(OSError, match=r"."):
            (mount.path / "f").read_text()
        with pytest.raises(OSError, match=r"."):
            (mount.path / "g").write_text("two")
        with LocalServer(bench.server.data_dir, buckets=["demo"], port=bench.server.port):
            assert mount.sh("cat f") == "one\n"
            mount.sh("echo two > g; cat g")
            mount.umount()


def test_sed_and_install_leave_the_right_content(mounted: Mounted) -> None:
    mounted.sh("printf 'a\\nb\\n' > f; sed -i s/a/X/ f; install -m 755 f g")
    assert mounted.sh("cat f g") == "X\nb\nX\nb\n"
